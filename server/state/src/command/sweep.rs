use serde::{Deserialize, Serialize};

use crate::{
    NodeId, Refusal, State, limits,
    record::{BootstrapToken, BootstrapTokenState, EnrolmentToken, Node, ServerRecord, ServerStanding, ServerToken, Standing},
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
        state.bootstrap_tokens.values().any(|token| has_run_out(token, now_ms) || is_history(token, now_ms))
            || state.enrolment_tokens.values().any(|token| is_forgotten(token, now_ms))
            || state.nodes.values().any(|node| has_waited(node, now_ms))
            || state.server_tokens.values().any(|token| is_server_token_forgotten(token, now_ms))
            || state.servers.values().any(|server| has_server_waited(server, now_ms))
    }

    #[expect(clippy::unnecessary_wraps, reason = "all verbs have one shape")]
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        let now_ms = context.now_ms;
        if !Self::is_due(state, now_ms) {
            return Ok(());
        }
        for token in state.bootstrap_tokens.values_mut() {
            if has_run_out(token, now_ms) {
                token.state = BootstrapTokenState::Deleted;
                token.differs = None;
                token.deleted_ms = now_ms;
            }
        }
        state.bootstrap_tokens.retain(|_, token| !is_history(token, now_ms));
        state.enrolment_tokens.retain(|_, token| !is_forgotten(token, now_ms));
        let stale: Vec<NodeId> =
            state.nodes.values().filter(|node| has_waited(node, now_ms)).map(|node| node.id.clone()).collect();
        for id in stale {
            state.node_event(false, "QueueEntryExpired", "it has not been seen for too long".into(), &id);
            state.take_node(&id);
            state.changes.push(Change::Node(id));
        }
        sweep_servers(state, now_ms);
        state.changes.push(Change::Other);
        Ok(())
    }
}

fn sweep_servers(state: &mut State, now_ms: u64) {
    state.server_tokens.retain(|_, token| !is_server_token_forgotten(token, now_ms));
    let stale: Vec<u64> =
        state.servers.values().filter(|server| has_server_waited(server, now_ms)).map(|server| server.id).collect();
    for id in stale {
        state.server_event(false, "ServerRequestExpired", format!("server {id} has not asked for too long"), id);
        state.servers.remove(&id);
        state.changes.push(Change::Server(id));
    }
}

fn is_server_token_forgotten(token: &ServerToken, now_ms: u64) -> bool {
    now_ms >= token.expires_ms.saturating_add(limits::ENROLMENT_TOKEN_KEPT_MS)
}

fn has_server_waited(server: &ServerRecord, now_ms: u64) -> bool {
    server.standing == ServerStanding::Pending && now_ms.saturating_sub(server.seen_ms) >= limits::PENDING_TTL_MS
}

/// Kubernetes' token cleaner removes an expired Secret within a second of its time, whoever made it. A token that is
/// not in the cluster yet has no end: it gets one when it is applied.
fn has_run_out(token: &BootstrapToken, now_ms: u64) -> bool {
    match token.state {
        BootstrapTokenState::Present | BootstrapTokenState::Ending => {
            token.expires_ms != 0 && now_ms >= token.expires_ms
        }
        BootstrapTokenState::Minted | BootstrapTokenState::Deleted => false,
    }
}

fn is_history(token: &BootstrapToken, now_ms: u64) -> bool {
    token.state == BootstrapTokenState::Deleted && now_ms >= token.expires_ms.saturating_add(DELETED_TOKEN_KEPT_MS)
}

fn is_forgotten(token: &EnrolmentToken, now_ms: u64) -> bool {
    now_ms >= token.expires_ms.saturating_add(limits::ENROLMENT_TOKEN_KEPT_MS)
}

/// A locked machine is kept: an operator is to look at it.
fn has_waited(node: &Node, now_ms: u64) -> bool {
    let since_ms = |then_ms: u64| now_ms.saturating_sub(then_ms);
    node.locked.is_none()
        && match node.standing {
            Standing::Pending { .. } => since_ms(node.last_seen_ms) >= limits::PENDING_TTL_MS,
            Standing::Denied(_) => {
                let denied_ms = node.timeline.last().map_or(node.created_ms, |entry| entry.at_ms);
                since_ms(denied_ms) >= limits::DENIED_KEPT_MS
            }
            Standing::Admitted(_) => false,
        }
}
