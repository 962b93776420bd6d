use serde::{Deserialize, Serialize};

use crate::{Refusal, State, TokenId, record::BootstrapTokenState, state::{Change, Context}};

/// Takes a token back: an enrolment token or a server token is no longer good, a bootstrap token is deleted from
/// its cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeToken {
    /// Public id of any kind.
    pub id: TokenId,
}

impl RevokeToken {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        if state.server_tokens.remove(&self.id).is_some() {
            // Nobody can tell it from one that never was: it admitted nobody by itself.
            state.event(false, "TokenRevoked", format!("server token {} was revoked", self.id), None, None);
            state.changes.push(Change::Other);
            return Ok(());
        }
        let cluster = if let Some(token) = state.enrolment_tokens.get_mut(&self.id) {
            if token.revoked_ms.is_some() {
                return Ok(());
            }
            token.revoked_ms = Some(context.now_ms);
            token.cluster.clone()
        } else if let Some(token) = state.bootstrap_tokens.get(&self.id) {
            let (cluster, now) = (token.cluster.clone(), token.state);
            let of_node = token.purpose.node().and_then(|node| state.nodes.get(node)).map(|node| &node.requests);
            let requests = of_node.unwrap_or(&token.requests).clone();
            state.recall_approvals(&cluster, &requests);
            let was_held = state.drop_holds(&self.id);
            match now {
                BootstrapTokenState::Minted | BootstrapTokenState::Present => state.end_bootstrap_token(&self.id),
                BootstrapTokenState::Ending | BootstrapTokenState::Deleted if was_held => {}
                BootstrapTokenState::Ending | BootstrapTokenState::Deleted => return Ok(()),
            }
            cluster
        } else {
            return Err(Refusal::not_found("token", self.id));
        };
        state.event(false, "TokenRevoked", format!("token {} was revoked", self.id), Some(cluster), None);
        state.changes.push(Change::Other);
        Ok(())
    }
}
