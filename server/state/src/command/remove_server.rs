use serde::{Deserialize, Serialize};

use crate::{
    Bytes, Refusal, State, limits,
    record::ServerStanding,
    state::{Change, Context},
};

/// Takes a server out of the fleet for good, or refuses one that asks to join. The leader takes it out of the Raft
/// group; if it knew the data key in use, a new epoch starts after that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveServer {
    /// The server.
    pub server: u64,
    /// Even if the voters that remain may not be enough to go on.
    pub force: bool,
    /// Why; kept in the events.
    pub reason: String,
}

impl RemoveServer {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        let (id, forced) = (self.server, self.force);
        let before = state.server(id)?.standing;
        if before == (ServerStanding::Removed { forced }) || before == (ServerStanding::Removed { forced: true }) {
            return Ok(());
        }
        if before == ServerStanding::Voter {
            check_others(state, id)?;
        }
        let reason = if self.reason.is_empty() { "by an operator" } else { &self.reason };
        let what = match before {
            ServerStanding::Pending => "was refused",
            ServerStanding::Removed { .. } => "is removed by force",
            ServerStanding::Learner | ServerStanding::Voter => "is removed",
        };
        state.server_event(true, "ServerRemoved", format!("server {id} {what}: {reason}"), id);
        state.set_standing(id, ServerStanding::Removed { forced }, context);
        if let Some(server) = state.servers.get_mut(&id) {
            // What is left is a gravestone: number, key, and what it knew.
            server.csr = Bytes::default();
            server.certificate = None;
        }
        let copies = state.fleet.iter_mut().flat_map(|fleet| fleet.epochs.values_mut());
        copies.for_each(|copies| drop(copies.remove(&id)));
        state.forget_streams(id, u64::MAX);
        bury(state, id);
        state.changes.push(Change::Server(id));
        Ok(())
    }
}

/// Somebody is left who votes and can open every secret. Not even force takes the last one away: that would be the
/// end of the fleet.
fn check_others(state: &State, id: u64) -> Result<(), Refusal> {
    let mut others = state.servers_that_are(ServerStanding::Voter).filter(|server| server.id != id).peekable();
    let problem = if others.peek().is_none() {
        "it is the only voter; promote another server first"
    } else if others.all(|server| !state.holds_data_keys(server.id)) {
        "it is the only voter that has the data keys; wait until another one has them (`muster server list`)"
    } else {
        return Ok(());
    };
    Err(Refusal::ServerStanding { server: id, problem: problem.into() })
}

/// Forgets the oldest of too many removed servers, but never the one just removed.
fn bury(state: &mut State, newest: u64) {
    let mut removed: Vec<(u64, u64)> = state
        .servers
        .values()
        .filter(|server| server.standing.is_removed() && server.id != newest)
        .map(|server| (server.since_ms, server.id))
        .collect();
    removed.sort_unstable();
    let too_many = (removed.len() + 1).saturating_sub(limits::REMOVED_SERVERS_KEPT);
    for (_, id) in removed.into_iter().take(too_many) {
        state.servers.remove(&id);
    }
}
