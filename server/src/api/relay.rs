//! What a voter does for relays.

use muster_state::{Bytes, NodeId, State, record::Certificate};
use muster_trust::sealing::SealedToNode;

use super::payload::sealed;
use crate::{
    ledger::ProposeError,
    operations::{
        Unsealed,
        issue_certificate::{self, IssueError},
        payload::release,
        renew_identity,
    },
    peers::relay::{PayloadAsk, RelayError, RenewalAsk, Voter},
};

/// This server, asked by relays. While it holds no keys it sends them to another.
pub struct ForRelays {
    /// What the server holds.
    pub server: Unsealed,
}

#[async_trait::async_trait]
impl Voter for ForRelays {
    async fn render_payload(&self, from: u64, ask: PayloadAsk) -> Result<SealedToNode, RelayError> {
        let PayloadAsk { node, attempt, step, key } = ask;
        // A relay's word that it released something is no evidence.
        let released = self.look(|state| release::sealing_key(state, &node, attempt, &step, key)).await?;
        let Some(Bytes(sealing_key)) = released else {
            tracing::info!(from, %node, step, "a relay asked for what was not released");
            return Err(RelayError::Moved);
        };
        sealed(&self.server, &node, attempt, &step, &sealing_key).map_err(|err| {
            tracing::error!(from, %node, step, err = %format!("{err:#}"), "a payload could not be made for a relay");
            RelayError::Failed
        })
    }

    async fn issue_certificate(&self, _: u64, node: NodeId) -> Result<Certificate, RelayError> {
        self.look(|_| ()).await?;
        issue_certificate::run(&self.server, &node).await.map_err(refused)
    }

    async fn renew_certificate(&self, _: u64, ask: RenewalAsk) -> Result<(u64, Certificate), RelayError> {
        let RenewalAsk { node, key, generation, csr } = ask;
        self.look(|_| ()).await?;
        renew_identity::run(&self.server, &node, key, generation, csr.0).await.map_err(refused)
    }
}

impl ForRelays {
    /// Looks at state that holds at least what the relay has seen, on a server that could act on it.
    async fn look<T>(&self, look: impl FnOnce(&State) -> T + Send) -> Result<T, RelayError> {
        self.server.keys().map_err(|error| RelayError::Unavailable(error.to_string()))?;
        self.server.ledger.linearizable_read(look).await.map_err(|error| RelayError::Unavailable(error.to_string()))
    }
}

fn refused(error: IssueError) -> RelayError {
    match error {
        IssueError::Propose(ProposeError::Refused(refusal)) => RelayError::Refused(refusal),
        IssueError::Propose(error) => RelayError::Unavailable(error.to_string()),
        IssueError::Request(sentence) => RelayError::Request(sentence),
        IssueError::Unavailable(why) => RelayError::Unavailable(why),
    }
}
