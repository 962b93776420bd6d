use serde::{Deserialize, Serialize};

use crate::{
    Refusal, State, limits,
    record::ServerStanding,
    state::{Change, Context},
};

/// Says that a learner is to vote. The leader gives it the data keys and the vote once it has kept up for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromoteServer {
    /// The server.
    pub server: u64,
}

impl PromoteServer {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        let id = self.server;
        match state.server(id)?.standing {
            ServerStanding::Removed { .. } => return Err(Refusal::ServerRemoved(id)),
            ServerStanding::Pending => return Err(Refusal::not_approved(id)),
            ServerStanding::Voter => return Ok(()),
            ServerStanding::Learner => {}
        }
        if state.servers_that_are(ServerStanding::Voter).count() >= limits::VOTERS_MAX {
            return Err(Refusal::Full { what: "voters".into(), limit: limits::VOTERS_MAX as u64 });
        }
        state.set_standing(id, ServerStanding::Voter, context);
        let text = format!("server {id} is to vote; it gets the data keys and its vote once it has kept up");
        state.server_event(false, "ServerPromoted", text, id);
        state.changes.push(Change::Server(id));
        Ok(())
    }
}
