//! The fleet's voters, asked by a relay for what needs the fleet's keys. A server that has the keys does it itself.

use std::time::Duration;

use muster_state::{Digest, NodeId, record::Certificate};
use muster_trust::sealing::SealedToNode;

use super::payload::sealed;
use crate::{
    ledger::{Ledger, ProposeError},
    operations::{
        Unsealed,
        issue_certificate::{self, IssueError},
        renew_identity,
    },
    peers::{
        Client, Peer, ServerId, TransportError,
        relay::{PayloadAsk, RelayError, RenewalAsk},
    },
};

/// Making a payload takes milliseconds, a commit behind a slow disk a second.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A way to the voters; cheap to clone.
#[derive(Clone)]
pub struct Voters {
    /// Calls other servers.
    pub client: Client,
    /// Knows who votes.
    pub ledger: Ledger,
}

impl Voters {
    /// The certificate of an admitted node's first key.
    ///
    /// # Errors
    /// [`IssueError`].
    pub async fn issue_certificate(&self, server: &Unsealed, node: &NodeId) -> Result<Certificate, IssueError> {
        if server.keys().is_ok() {
            return issue_certificate::run(server, node).await;
        }
        let asked = self.ask(|client, to, peer| {
            let node = node.clone();
            async move { client.issue_certificate(to, &peer, &node, ANSWER_WITHIN).await }
        });
        asked.await.map_err(of_issue)
    }

    /// Binds a node's next key; its generation and certificate.
    ///
    /// # Errors
    /// [`IssueError`].
    pub async fn renew_certificate(
        &self,
        server: &Unsealed,
        node: &NodeId,
        key: Digest,
        generation: u64,
        csr_der: Vec<u8>,
    ) -> Result<(u64, Certificate), IssueError> {
        if server.keys().is_ok() {
            return renew_identity::run(server, node, key, generation, csr_der).await;
        }
        let ask = RenewalAsk { node: node.clone(), key, generation, csr: csr_der.into() };
        let asked = self.ask(|client, to, peer| {
            let ask = ask.clone();
            async move { client.renew_certificate(to, &peer, ask, ANSWER_WITHIN).await }
        });
        asked.await.map_err(of_issue)
    }

    /// A step's payload, sealed to its node. Its release has committed.
    ///
    /// # Errors
    /// [`RelayError`].
    pub async fn render_payload(
        &self,
        server: &Unsealed,
        ask: PayloadAsk,
        sealing_key: &[u8],
    ) -> Result<SealedToNode, RelayError> {
        let PayloadAsk { node, attempt, step, .. } = &ask;
        if server.keys().is_ok() {
            return sealed(server, node, *attempt, step, sealing_key).map_err(|err| {
                tracing::error!(%node, step, err = %format!("{err:#}"), "a payload could not be made");
                RelayError::Failed
            });
        }
        let asked = self.ask(|client, to, peer| {
            let ask = ask.clone();
            async move { client.render_payload(to, &peer, ask, ANSWER_WITHIN).await }
        });
        asked.await
    }

    /// Asks the leader, then the other voters, until one does it or knows why not.
    async fn ask<T, Asked>(&self, ask: impl Fn(Client, ServerId, Peer) -> Asked) -> Result<T, RelayError>
    where
        Asked: Future<Output = Result<Result<T, RelayError>, TransportError>> + Send,
    {
        let mut last = "no voter is known".to_owned();
        for (id, peer) in self.in_order() {
            match ask(self.client.clone(), id, peer).await {
                Ok(Err(RelayError::Unavailable(why))) => last = format!("server {id}: {why}"),
                Ok(answer) => return answer,
                Err(error) => last = format!("server {id}: {error}"),
            }
        }
        Err(RelayError::Unavailable(format!("no voter could do it; {last}")))
    }

    fn in_order(&self) -> Vec<(ServerId, Peer)> {
        let status = self.ledger.status();
        let voters = status.members.iter().filter(|(id, member)| member.voter && **id != status.id);
        let mut voters: Vec<_> = voters.map(|(id, member)| (*id, member.peer.clone())).collect();
        voters.sort_by_key(|(id, _)| Some(*id) != status.leader);
        voters
    }
}

fn of_issue(error: RelayError) -> IssueError {
    match error {
        RelayError::Refused(refusal) => IssueError::Propose(ProposeError::Refused(refusal)),
        RelayError::Request(sentence) => IssueError::Request(sentence),
        RelayError::Unavailable(_) | RelayError::Moved | RelayError::Failed => {
            IssueError::Unavailable(error.to_string())
        }
    }
}
