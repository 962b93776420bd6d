use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::record_link::check_linked;
use crate::{
    ClusterId, NodeId, Refusal, State, TokenId, limits,
    record::{BootstrapToken, BootstrapTokenState, TokenDifference},
    state::{Change, Context},
};

/// In what the Secrets of a linked cluster differ from the records of its tokens. Only what is news is told; what the record
/// has come to contradict meanwhile is passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompareTokens {
    /// The cluster.
    pub cluster: ClusterId,
    /// By token; `None`: its Secret is as its record says.
    pub tokens: BTreeMap<TokenId, Option<TokenDifference>>,
}

impl CompareTokens {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        check_linked(state, &self.cluster)?;
        if self.tokens.len() > limits::ERRAND_TOKENS_MAX {
            let limit = limits::ERRAND_TOKENS_MAX as u64;
            return Err(Refusal::Full { what: "tokens of one command".into(), limit });
        }
        for (id, differs) in self.tokens {
            let Some(token) = state.bootstrap_tokens.get_mut(&id).filter(|token| token.cluster == self.cluster) else {
                continue;
            };
            if token.differs == differs || !is_possible(token, differs, context.now_ms) {
                continue;
            }
            // One that has been deleted now differs no more.
            token.differs = differs.filter(|differs| *differs != TokenDifference::LeftOver);
            let owner = token.purpose.node().cloned();
            let (reason, text) = match differs {
                Some(differs) => ("TokenDiffers", differs.sentence()),
                None => ("TokenAgrees", "it is in the cluster as it should be"),
            };
            let text = format!("bootstrap token {id}: {text}");
            state.event(differs.is_some(), reason, text, Some(self.cluster.clone()), owner.clone());
            give_up(state, owner.as_ref(), &id, context);
        }
        state.changes.push(Change::Other);
        state.refresh_cluster(&self.cluster);
        Ok(())
    }
}

/// The record does not contradict it.
fn is_possible(token: &BootstrapToken, differs: Option<TokenDifference>, now_ms: u64) -> bool {
    match differs {
        None => token.state == BootstrapTokenState::Present,
        Some(TokenDifference::Missing) => token.is_live(now_ms),
        Some(TokenDifference::Foreign) => token.state == BootstrapTokenState::Minted || token.is_live(now_ms),
        Some(TokenDifference::Unsigned | TokenDifference::Unreadable) => token.state == BootstrapTokenState::Minted,
        Some(TokenDifference::LeftOver) => token.state == BootstrapTokenState::Deleted,
    }
}

/// One that is of no use and that nobody was told to join with is given up: its node gets another one. A node that was told to has
/// to go through with it.
fn give_up(state: &mut State, node: Option<&NodeId>, id: &TokenId, context: Context) {
    let waits = node.and_then(|id| state.nodes.get(id)).is_some_and(|node| node.steps.is_empty());
    let Some(token) = state.bootstrap_tokens.get_mut(id) else { return };
    let is_useless = match token.differs {
        Some(TokenDifference::Foreign) => waits || token.state == BootstrapTokenState::Minted,
        Some(TokenDifference::Missing) => waits,
        Some(TokenDifference::Unsigned | TokenDifference::Unreadable | TokenDifference::LeftOver) | None => false,
    };
    if is_useless {
        token.state = BootstrapTokenState::Deleted;
        token.differs = None;
        token.deleted_ms = context.now_ms;
    }
}
