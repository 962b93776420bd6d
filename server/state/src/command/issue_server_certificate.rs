use serde::{Deserialize, Serialize};

use crate::{
    Digest, Refusal, State,
    record::{Certificate, ServerStanding},
    state::{Change, Context},
};

/// Stores the certificate of an approved server. Whoever comes first wins: the reply is the stored one, which is the
/// one to give. One that has run out gives way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssueServerCertificate {
    /// The server.
    pub server: u64,
    /// The key it was issued for.
    pub key: Digest,
    /// What was signed.
    pub certificate: Certificate,
}

impl IssueServerCertificate {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<Certificate, Refusal> {
        let id = self.server;
        let Some(server) = state.servers.get_mut(&id) else { return Err(Refusal::not_found("server", id)) };
        match server.standing {
            ServerStanding::Removed { .. } => return Err(Refusal::ServerRemoved(id)),
            ServerStanding::Pending => return Err(Refusal::not_approved(id)),
            ServerStanding::Learner | ServerStanding::Voter => {}
        }
        if server.key != self.key {
            return Err(Refusal::FingerprintDiffers { server: id });
        }
        server.certificate.take_if(|stored| stored.not_after_ms <= context.now_ms);
        let stored = server.certificate.get_or_insert(self.certificate).clone();
        state.changes.push(Change::Server(id));
        Ok(stored)
    }
}
