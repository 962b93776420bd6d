use serde::{Deserialize, Serialize};

use crate::{
    Digest, Refusal, State,
    record::ServerStanding,
    state::{Change, Context},
};

/// Lets a server in as a learner, by an operator's word, who names the key fingerprint that was compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApproveServer {
    /// The server.
    pub server: u64,
    /// The fingerprint that was compared.
    pub fingerprint: Digest,
}

impl ApproveServer {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        let server = state.server(self.server)?;
        if server.key != self.fingerprint {
            return Err(Refusal::FingerprintDiffers { server: self.server });
        }
        match server.standing {
            ServerStanding::Removed { .. } => return Err(Refusal::ServerRemoved(self.server)),
            ServerStanding::Learner | ServerStanding::Voter => return Ok(()),
            ServerStanding::Pending => {}
        }
        state.set_standing(self.server, ServerStanding::Learner, context);
        let text = format!("server {} was approved with key {}; it is a learner", self.server, self.fingerprint);
        state.server_event(false, "ServerApproved", text, self.server);
        state.changes.push(Change::Server(self.server));
        Ok(())
    }
}
