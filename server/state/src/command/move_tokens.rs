use serde::{Deserialize, Serialize};

use super::{complete_errand::{delete_tokens, move_tokens}, record_link::check_linked};
use crate::{
    ClusterId, Refusal, State, TokenId, limits,
    record::{BootstrapToken, BootstrapTokenState},
    state::{Change, Context},
};

/// Bootstrap tokens of a linked cluster on their way into it and out of it: committed before the leader makes a Secret, after
/// it has, and after it has deleted one. Tokens that are elsewhere by now are passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveTokens {
    /// The cluster.
    pub cluster: ClusterId,
    /// Which.
    pub tokens: Vec<TokenId>,
    /// Where to.
    pub to: TokenStep,
}

/// A part of a token's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenStep {
    /// Its Secret is about to be made: its lifetime begins.
    Offered,
    /// Its Secret is there.
    Present,
    /// Its Secret is gone.
    Deleted,
    /// Its Secret, which is there, is about to get a later end.
    Renewing,
    /// Its Secret has it.
    Renewed,
}

impl MoveTokens {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        check_linked(state, &self.cluster)?;
        if self.tokens.len() > limits::ERRAND_TOKENS_MAX {
            let limit = limits::ERRAND_TOKENS_MAX as u64;
            return Err(Refusal::Full { what: "tokens of one command".into(), limit });
        }
        let of_cluster = |id: &TokenId| state.bootstrap_tokens.get(id).is_some_and(|token| token.cluster == self.cluster);
        let tokens: Vec<TokenId> = self.tokens.into_iter().filter(of_cluster).collect();
        match self.to {
            TokenStep::Offered => {
                for id in &tokens {
                    let token = state.bootstrap_tokens.get_mut(id);
                    if let Some(token) = token.filter(|token| token.state == BootstrapTokenState::Minted) {
                        token.expires_ms = context.now_ms.saturating_add(token.ttl_ms);
                    }
                }
            }
            TokenStep::Renewing => {
                each(state, &tokens, |token| token.begin_renewal(context.now_ms));
            }
            TokenStep::Renewed => each(state, &tokens, BootstrapToken::end_renewal),
            // One that was ended meanwhile stays ended: a deletion follows.
            TokenStep::Present => move_tokens(state, &tokens, BootstrapTokenState::Minted, BootstrapTokenState::Present),
            TokenStep::Deleted => delete_tokens(state, &tokens, context.now_ms),
        }
        state.changes.push(Change::Other);
        state.refresh_cluster(&self.cluster);
        Ok(())
    }
}

fn each(state: &mut State, tokens: &[TokenId], change: impl Fn(&mut BootstrapToken)) {
    for id in tokens {
        state.bootstrap_tokens.get_mut(id).into_iter().for_each(&change);
    }
}
