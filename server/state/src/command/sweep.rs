use serde::{Deserialize, Serialize};

use crate::{
    NodeId, Refusal, State,
    limits,
    record::{BootstrapTokenState, Standing, TokenStanding},
    state::{Change, Context},
};

/// Ends and forgets what time has ended: by the stamp, so that all replicas agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {}

/// Deleted bootstrap tokens are remembered for a day, for `muster token list`.
const DELETED_TOKEN_KEPT_MS: u64 = 24 * 3600 * 1000;

impl Sweep {
    /// Something is due.
    pub fn is_due(state: &State, now_ms: u64) -> bool {
        state.bootstrap_tokens.values().any(|token| token.state == BootstrapTokenState::Present && now_ms >= token.expires_ms)
            || state.enrolment_tokens.values().any(|token| {
                token.standing(now_ms) != TokenStanding::Live
                    && now_ms.saturating_sub(token.expires_ms) >= limits::ENROLMENT_TOKEN_KEPT_MS
                    && now_ms > token.expires_ms
            })
            || state.nodes.values().any(|node| {
                matches!(node.standing, Standing::Pending { .. })
                    && now_ms.saturating_sub(node.last_seen_ms) >= limits::PENDING_TTL_MS
            })
    }

    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        let now_ms = context.now_ms;
        for token in state.bootstrap_tokens.values_mut() {
            // Kubernetes' token cleaner removes an expired Secret within a second of its time.
            if token.state == BootstrapTokenState::Present && now_ms >= token.expires_ms {
                token.state = BootstrapTokenState::Deleted;
            }
        }
        state.bootstrap_tokens.retain(|_, token| {
            token.state != BootstrapTokenState::Deleted || now_ms < token.expires_ms.saturating_add(DELETED_TOKEN_KEPT_MS)
        });
        state.enrolment_tokens.retain(|_, token| {
            now_ms < token.expires_ms.saturating_add(limits::ENROLMENT_TOKEN_KEPT_MS)
        });
        let stale: Vec<NodeId> = state.nodes.values()
            .filter(|node| matches!(node.standing, Standing::Pending { .. }))
            .filter(|node| now_ms.saturating_sub(node.last_seen_ms) >= limits::PENDING_TTL_MS)
            .map(|node| node.id.clone())
            .collect();
        for id in stale {
            state.node_event(false, "PendingExpired", "it has not been seen for 7 days".into(), &id);
            state.nodes.remove(&id);
            state.changes.push(Change::Node(id));
        }
        state.changes.push(Change::Other);
        Ok(())
    }
}
