//! What servers say beside consensus: greetings, and a relay's questions to a voter.

use std::time::Duration;

use muster_state::NodeId;
use muster_state::record::Certificate;
use muster_trust::sealing::SealedToNode;

use super::{Client, meaningless};
use crate::consensus::transport::TransportError;
use crate::consensus::types::{Peer, ServerId};
use crate::peers::greet::{Greeted, Greeting};
use crate::peers::logs::{LogAsk, LogPart, WAIT_MAX};
use crate::peers::relay::{PayloadAsk, RelayError, RenewalAsk};
use crate::peers::wire::{greet, logs, relay};
use crate::web::metrics::PeerCall;

/// What an answer with lines takes beyond what it waits for them.
const LOG_WITHIN: Duration = Duration::from_secs(2);

impl Client {
    /// Says what this server remembers; the answer is whether it may take part.
    ///
    /// # Errors
    /// [`TransportError`] without an answer.
    pub async fn greet(
        &self,
        to: ServerId,
        peer: &Peer,
        greeting: &Greeting,
        within: Duration,
    ) -> Result<Greeted, TransportError> {
        let request = |envelope| greet::render(envelope, greeting);
        let sent = self.send(PeerCall::Greet, (to, peer, within), request, |mut client, request| async move {
            client.greet(request).await
        });
        greet::parse_greeted(sent.await?).map_err(meaningless)
    }

    /// Asks a voter for a payload. Propose its `Release` first and wait for the reply.
    ///
    /// # Errors
    /// The outer one without an answer: ask another voter.
    pub async fn render_payload(
        &self,
        to: ServerId,
        peer: &Peer,
        ask: PayloadAsk,
        within: Duration,
    ) -> Result<Result<SealedToNode, RelayError>, TransportError> {
        let request = |envelope| relay::render_payload_ask(envelope, ask);
        let sent = self.send(PeerCall::RenderPayload, (to, peer, within), request, |mut client, request| async move {
            client.render_payload(request).await
        });
        relay::parse_payload(sent.await?).map_err(meaningless)
    }

    /// Asks a voter for the certificate of an admitted node's first key.
    ///
    /// # Errors
    /// As [`Client::render_payload`].
    pub async fn issue_certificate(
        &self,
        to: ServerId,
        peer: &Peer,
        node: &NodeId,
        within: Duration,
    ) -> Result<Result<Certificate, RelayError>, TransportError> {
        let request = |envelope| relay::render_issue_ask(envelope, node);
        let sent =
            self.send(PeerCall::IssueCertificate, (to, peer, within), request, |mut client, request| async move {
                client.issue_certificate(request).await
            });
        relay::parse_issued(sent.await?).map_err(meaningless)
    }

    /// Asks a voter to bind a node's next key; its generation and certificate.
    ///
    /// # Errors
    /// As [`Client::render_payload`].
    pub async fn renew_certificate(
        &self,
        to: ServerId,
        peer: &Peer,
        ask: RenewalAsk,
        within: Duration,
    ) -> Result<Result<(u64, Certificate), RelayError>, TransportError> {
        let request = |envelope| relay::render_renewal_ask(envelope, ask);
        let sent =
            self.send(PeerCall::RenewCertificate, (to, peer, within), request, |mut client, request| async move {
                client.renew_certificate(request).await
            });
        relay::parse_renewed(sent.await?).map_err(meaningless)
    }

    /// Asks for lines that another server keeps. Takes as long as the question lets it wait.
    ///
    /// # Errors
    /// [`TransportError`] without an answer.
    pub async fn read_log(&self, to: ServerId, peer: &Peer, ask: &LogAsk) -> Result<LogPart, TransportError> {
        let within = ask.wait.min(WAIT_MAX) + LOG_WITHIN;
        let request = |envelope| logs::render_ask(envelope, ask);
        let sent = self.send(PeerCall::ReadLog, (to, peer, within), request, |mut client, request| async move {
            client.read_log(request).await
        });
        Ok(logs::parse(ask, sent.await?))
    }
}
