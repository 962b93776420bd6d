use serde::{Deserialize, Serialize};

use crate::{
    ClusterId, Refusal, State, TokenId,
    record::{BootstrapToken, BootstrapTokenState, Purpose, SealedSecret},
    state::{Change, Context},
};

/// Records a bootstrap token that the proposer minted. One live token per node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MintBootstrapToken {
    /// Public part.
    pub id: TokenId,
    /// The cluster it is for.
    pub cluster: ClusterId,
    /// What for.
    pub purpose: Purpose,
    /// The secret part, sealed.
    pub secret: SealedSecret,
    /// Lifetime from the moment it is applied, milliseconds.
    pub ttl_ms: u64,
}

impl MintBootstrapToken {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        state.cluster(&self.cluster)?;
        if state.bootstrap_tokens.contains_key(&self.id) {
            return Err(Refusal::Exists { kind: "bootstrap token".into(), name: self.id.to_string() });
        }
        if let Purpose::Node(node) = &self.purpose {
            let record = state.node(node)?;
            let busy = !record.steps.is_empty() || record.locked.is_some() || record.placement().is_none();
            let has_one = record.bootstrap_token.as_ref().and_then(|id| state.bootstrap_tokens.get(id)).is_some_and(|token| {
                matches!(token.state, BootstrapTokenState::Minted | BootstrapTokenState::Present)
            });
            if busy || has_one {
                return Err(Refusal::WrongPhase { phase: record.phase, problem: "it does not wait for a token".into() });
            }
            if let Some(record) = state.nodes.get_mut(node) {
                record.bootstrap_token = Some(self.id.clone());
            }
            state.changes.push(Change::Node(node.clone()));
        }
        let token = BootstrapToken {
            id: self.id.clone(),
            cluster: self.cluster,
            purpose: self.purpose,
            secret: self.secret,
            created_ms: context.now_ms,
            ttl_ms: self.ttl_ms,
            expires_ms: context.now_ms.saturating_add(self.ttl_ms),
            state: BootstrapTokenState::Minted,
        };
        state.bootstrap_tokens.insert(self.id, token);
        state.changes.push(Change::Other);
        Ok(())
    }
}
