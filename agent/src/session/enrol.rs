//! The conversation in which a machine without identity proves who it is and waits for its certificate.

use std::sync::Arc;

use muster_proto::enrolment::v1 as proto;
use muster_proto::enrolment::v1::enrol_request::Message as Said;
use muster_proto::enrolment::v1::enrol_response::Message as Heard;
use muster_proto::enrolment::v1::enrolment_service_client::EnrolmentServiceClient;
use muster_trust::{Anchor, IdentityCell, Pin, client_config, statement};
use prost::Message;
use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;

use crate::client;
use crate::error::{Error, LinkError};
use crate::facts::Facts;
use crate::identity::{Identity, IdentityKey, Keyring};
use crate::session::backoff::{pause, random_share};
use crate::settings::Settings;
use crate::url::ServerUrl;
use crate::wire;

/// Version of the conversation.
const PROTOCOL: u32 = 1;

/// The decision of a fleet.
enum Decision {
    Issued(Box<Identity>),
    Refused(proto::Refused),
}

/// Enrols with the key number `number`, at one server after the other, for as long as it takes an operator to decide.
///
/// # Errors
/// [`Error::Refused`] when the fleet will not have the machine, [`Error::Unreachable`] when `settings` set a limit, and
/// anything that is wrong on the machine itself.
pub(super) async fn until_issued(
    settings: &Settings,
    keyring: &Keyring,
    facts: &Facts,
    number: u64,
) -> Result<Identity, Error> {
    let applicant = Applicant::new(settings, keyring, facts, number)?;
    let offset = usize::from(random_share());
    let mut unreachable_since = Instant::now();
    let mut tries = 0_u32;
    loop {
        sleep(pause(tries, settings.servers.len(), random_share())).await;
        let at = offset.wrapping_add(usize::try_from(tries).unwrap_or(0)) % settings.servers.len().max(1);
        let Some(server) = settings.servers.get(at) else {
            return Err(Error::Unreachable {
                after: unreachable_since.elapsed(),
                last: "no server was given".to_owned(),
            });
        };
        tries = tries.saturating_add(1);
        match applicant.converse(server).await {
            Ok(Decision::Issued(identity)) => {
                keyring.keep(&identity)?;
                tracing::info!(node = %identity.node_id, fleet = %identity.fleet, "enrolled");
                return Ok(*identity);
            }
            Ok(Decision::Refused(refused)) if !refused.retryable => {
                return Err(Error::Refused { reason: refused.reason, message: refused.message });
            }
            Ok(Decision::Refused(refused)) => {
                unreachable_since = Instant::now();
                tracing::warn!(reason = %refused.reason, "not now: {}", refused.message);
            }
            Err(error) => {
                tracing::warn!(%server, %error, "enrolment was interrupted; trying the next server");
                let after = unreachable_since.elapsed();
                if settings.give_up_after.is_some_and(|limit| after >= limit) {
                    return Err(Error::Unreachable { after, last: error.to_string() });
                }
            }
        }
    }
}

struct Applicant<'a> {
    settings: &'a Settings,
    facts: &'a Facts,
    key: IdentityKey,
    number: u64,
    sealing_public_key: Vec<u8>,
    tls: Arc<ClientConfig>,
}

impl<'a> Applicant<'a> {
    fn new(settings: &'a Settings, keyring: &Keyring, facts: &'a Facts, number: u64) -> Result<Self, Error> {
        let tls =
            client_config(Anchor::Pin(settings.pin), None, None).map_err(|error| Error::Identity(error.to_string()))?;
        Ok(Self {
            settings,
            facts,
            key: keyring.key(number)?,
            number,
            sealing_public_key: keyring.sealing()?.public().as_bytes().to_vec(),
            tls: Arc::new(tls),
        })
    }

    async fn converse(&self, server: &ServerUrl) -> Result<Decision, LinkError> {
        let channel = client::connect_server(server, Arc::clone(&self.tls)).await?;
        // Hello and proof, nothing else is ever said.
        let (say, said) = mpsc::channel(2);
        let hello = proto::Hello { agent_version: env!("CARGO_PKG_VERSION").to_owned(), protocol: PROTOCOL };
        let send =
            |message| say.try_send(proto::EnrolRequest { message: Some(message) }).map_err(|_| LinkError::Closed);
        send(Said::Hello(hello))?;
        let mut stream = EnrolmentServiceClient::new(channel).enrol(ReceiverStream::new(said)).await?.into_inner();
        let mut fleet = None;
        while let Some(answer) = stream.message().await? {
            match answer.message {
                Some(Heard::Challenge(challenge)) if fleet.is_none() => {
                    fleet = Some(challenge.fleet.clone());
                    send(Said::Proof(self.proof(challenge)?))?;
                }
                Some(Heard::Pending(pending)) => self.show(&pending),
                Some(Heard::Refused(refused)) => return Ok(Decision::Refused(refused)),
                Some(Heard::Issued(issued)) => {
                    let asked = fleet.ok_or_else(|| protocol("a certificate came without a challenge"))?;
                    return self.accept(issued, &asked).map(|identity| Decision::Issued(Box::new(identity)));
                }
                Some(Heard::Challenge(_)) => return Err(protocol("a second challenge came")),
                // A message of a newer server, of which this agent needs nothing.
                None => {}
            }
        }
        Err(LinkError::Closed)
    }

    fn proof(&self, challenge: proto::Challenge) -> Result<proto::Proof, LinkError> {
        let statement = proto::Statement {
            nonce: challenge.nonce,
            fleet: challenge.fleet,
            csr_der: self.key.request().map_err(|error| protocol(&error.to_string()))?,
            sealing_public_key: self.sealing_public_key.clone(),
            facts: Some(wire::facts(self.facts)),
        }
        .encode_to_vec();
        let signature = statement::sign(self.key.pkcs8(), &statement).map_err(|error| protocol(&error.to_string()))?;
        let token = self.settings.token.as_ref().map(|token| token.reveal().to_owned()).unwrap_or_default();
        Ok(proto::Proof { statement, signature, token })
    }

    fn show(&self, pending: &proto::Pending) {
        let own = self.key.fingerprint().to_string();
        tracing::info!(node = %pending.node_id, key = %own, "waiting for approval: {}", pending.message);
        if pending.key_fingerprint != own {
            tracing::error!(seen = %pending.key_fingerprint, "the server saw another key than this machine's; do not approve it");
        }
    }

    /// What is checked of a certificate before it is kept: it is for the own key, of the fleet that asked, under the pin.
    fn accept(&self, issued: proto::Issued, asked: &str) -> Result<Identity, LinkError> {
        if issued.fleet != asked {
            return Err(protocol("the certificate is of another fleet than the challenge"));
        }
        let root = CertificateDer::from(issued.fleet_root.clone());
        if Pin::of_certificate(&root).ok() != Some(self.settings.pin) {
            return Err(protocol("the fleet root is not the pinned one"));
        }
        let mut identity = Identity::new(
            &issued.node_id,
            &issued.fleet,
            issued.generation,
            self.number,
            &issued.certificate_chain,
            &issued.fleet_root,
        );
        identity.node_urls = issued.node_urls;
        let chain = identity.chain().map_err(|error| protocol(&error.to_string()))?;
        IdentityCell::new(self.key.with_chain(chain)).map_err(|error| protocol(&error.to_string()))?;
        Ok(identity)
    }
}

fn protocol(what: &str) -> LinkError {
    LinkError::Protocol(what.to_owned())
}
