//! The conversation in which a server proves its keys to the fleet and waits for its certificate.

use std::{collections::BTreeMap, error::Error as StdError, io, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use muster_proto::enrolment::v1::{
    Challenge, EnrolRequest, Hello, Proof, ServerAdmitted, ServerPending, ServerStatement,
    enrol_request::Message as Said, enrolment_service_client::EnrolmentServiceClient,
    join_server_response::Message as Heard,
};
use muster_state::{Bytes, Digest};
use muster_trust::{Anchor, IdentityCell, Pin, Role, VerifyError, client_config, sealing::SealingPublicKey};
use prost::Message as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::{net::TcpStream, sync::mpsc, time::timeout};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};
use zeroize::Zeroizing;

use crate::{
    clock::now_ms,
    identity::{KnownServer, Membership, keys::IdentityKey},
};

/// Version of the conversation.
const PROTOCOL: u32 = 1;
/// A server that is up answers within milliseconds, one behind a bad line within seconds.
const DIAL_WITHIN: Duration = Duration::from_secs(10);
/// An idle stream is asked for a sign of life, so that a server that died is noticed while an operator decides.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const KEEP_ALIVE_WITHIN: Duration = Duration::from_secs(10);
/// Hello and proof; nothing else is ever said.
const SAID: usize = 2;

/// Who asks, and what it says of itself.
pub struct Applicant<'a> {
    /// Trusts the fleet that this pin names, and no other.
    pub pin: Pin,
    /// Proves who it is.
    pub key: &'a IdentityKey,
    /// Data keys are sealed to it later.
    pub sealing: SealingPublicKey,
    /// A token for servers; nothing if the server asked before.
    pub token: Option<Zeroizing<String>>,
    /// Where this server will be reached.
    pub places: Places,
}

/// Where a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// `host:port` of its peer listener.
    pub address: String,
    /// https URLs of its enrolment listener.
    pub enrolment: Vec<String>,
    /// Of its node listener.
    pub nodes: Vec<String>,
    /// Of its operator listener.
    pub operators: Vec<String>,
}

/// What a fleet says while an operator decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The number that the server was given.
    pub server: u64,
    /// The fingerprint that the fleet saw.
    pub fingerprint: String,
}

/// Why a conversation did not end with a certificate.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The fleet said no, for good or for now.
    #[error("{message}")]
    Refused {
        /// A closed word.
        reason: String,
        /// Its sentence.
        message: String,
        /// Another server, or a later moment, may say yes.
        retryable: bool,
    },
    /// The server at the other end is not of the pinned fleet.
    #[error("{server} is not trusted: {why}")]
    Untrusted {
        /// Who was called.
        server: String,
        /// The verifier's words.
        why: String,
    },
    /// No conversation, or it broke.
    #[error("{server}: {why}")]
    Unreachable {
        /// Who was called.
        server: String,
        /// What went wrong.
        why: String,
    },
    /// The fleet answered what no honest server answers.
    #[error("{0}")]
    Protocol(&'static str),
    /// Something is wrong on this host.
    #[error(transparent)]
    Own(#[from] anyhow::Error),
}

impl JoinError {
    /// Another try may end otherwise.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Refused { retryable, .. } => *retryable,
            Self::Unreachable { .. } => true,
            Self::Untrusted { .. } | Self::Protocol(_) | Self::Own(_) => false,
        }
    }
}

impl Applicant<'_> {
    /// Asks the server at `url` (`https://host:port`) and waits as long as it makes us wait.
    ///
    /// # Errors
    /// [`JoinError`].
    pub async fn ask(&self, url: &Uri, pending: &mut (dyn FnMut(Pending) + Send)) -> Result<Membership, JoinError> {
        let unreachable = |why: String| JoinError::Unreachable { server: url.to_string(), why };
        let channel = self.connect(url).await?;
        let (say, said) = mpsc::channel(SAID);
        let send = |message| {
            let closed = |_| unreachable("the stream ended".to_owned());
            say.try_send(EnrolRequest { message: Some(message) }).map_err(closed)
        };
        send(Said::Hello(Hello { agent_version: env!("CARGO_PKG_VERSION").to_owned(), protocol: PROTOCOL }))?;
        let opened = EnrolmentServiceClient::new(channel).join_server(ReceiverStream::new(said)).await;
        let mut stream = opened.map_err(|status| unreachable(status.message().to_owned()))?.into_inner();
        let mut fleet = None;
        loop {
            let answer = stream.message().await.map_err(|status| unreachable(status.message().to_owned()))?;
            let answer = answer.ok_or_else(|| unreachable("the stream ended".to_owned()))?;
            match answer.message {
                Some(Heard::Challenge(challenge)) if fleet.is_none() => {
                    fleet = Some(challenge.fleet.clone());
                    send(Said::Proof(self.proof(challenge)?))?;
                }
                Some(Heard::Challenge(_)) => return Err(JoinError::Protocol("a second challenge came")),
                Some(Heard::Pending(ServerPending { server_id, key_fingerprint })) => {
                    pending(Pending { server: server_id, fingerprint: key_fingerprint });
                }
                Some(Heard::Refused(refused)) => {
                    let (reason, message, retryable) = (refused.reason, refused.message, refused.retryable);
                    return Err(JoinError::Refused { reason, message, retryable });
                }
                Some(Heard::Admitted(admitted)) => {
                    let asked = fleet.ok_or(JoinError::Protocol("a certificate came without a challenge"))?;
                    return self.accept(admitted, &asked);
                }
                // A message of a newer server, of which this one needs nothing.
                None => {}
            }
        }
    }

    fn proof(&self, challenge: Challenge) -> Result<Proof, JoinError> {
        let own = |err: &dyn std::fmt::Display| JoinError::Own(anyhow::anyhow!("{err}"));
        let Places { address, enrolment, nodes, operators } = self.places.clone();
        let statement = ServerStatement {
            nonce: challenge.nonce,
            fleet: challenge.fleet,
            csr_der: self.key.request_der().map_err(|err| own(&err))?,
            sealing_public_key: self.sealing.as_bytes().to_vec(),
            peer_address: address,
            enrolment_urls: enrolment,
            node_urls: nodes,
            operator_urls: operators,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
        .encode_to_vec();
        let signature = self.key.sign(&statement).map_err(|err| own(&err))?;
        let token = self.token.as_ref().map(|token| token.to_string()).unwrap_or_default();
        Ok(Proof { statement, signature, token })
    }

    /// What is checked before it is kept: of the fleet that asked, under the pin, and a server's certificate for the own key.
    fn accept(&self, admitted: ServerAdmitted, asked: &str) -> Result<Membership, JoinError> {
        let root = CertificateDer::from(admitted.fleet_root.clone());
        if admitted.fleet != asked || Pin::of_certificate(&root).ok() != Some(self.pin) {
            return Err(JoinError::Protocol("the certificate is not of the fleet that asked, or not under its root"));
        }
        let membership = Membership {
            server: admitted.server_id,
            fleet: admitted.fleet,
            root: Bytes(admitted.fleet_root),
            intermediates: admitted.intermediates.into_iter().map(|(role, der)| (role, Bytes(der))).collect(),
            chain: admitted.certificate_chain.into_iter().map(Bytes).collect(),
            servers: known(admitted.servers),
        };
        let anchors = membership.anchors().map_err(|_| JoinError::Protocol("the fleet's authorities do not fit"))?;
        let fits = || {
            let verifier = anchors.role_verifier(Role::Server).ok()?;
            let chain = membership.chain();
            let peer =
                verifier.check(chain.first()?, UnixTime::since_unix_epoch(Duration::from_millis(now_ms()))).ok()?;
            let is_own = Digest(*peer.spki_fingerprint.as_bytes()) == self.key.fingerprint();
            let is_it = is_own && peer.spiffe.id() == membership.server.to_string();
            IdentityCell::new(self.key.with_chain(chain)).ok().filter(|_| is_it)
        };
        match fits() {
            Some(_) => Ok(membership),
            None => Err(JoinError::Protocol("the certificate is not this server's (or this host's clock is wrong)")),
        }
    }

    async fn connect(&self, url: &Uri) -> Result<Channel, JoinError> {
        let tls = client_config(Anchor::Pin(self.pin), None, None).map_err(|err| JoinError::Own(err.into()))?;
        let failed = |error: &(dyn StdError + 'static)| match VerifyError::find(error) {
            Some(why) => JoinError::Untrusted { server: url.to_string(), why: why.to_string() },
            None => JoinError::Unreachable { server: url.to_string(), why: causes(error) },
        };
        let dialled = timeout(DIAL_WITHIN, dial(url, TlsConnector::from(Arc::new(tls)))).await;
        let stream = dialled.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|err| failed(&err))?;
        let mut stream = Some(TokioIo::new(stream));
        // One connection, one channel: a second one would be a conversation that nobody began.
        let once = tower::service_fn(move |_: Uri| {
            let stream = stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
            async move { stream }
        });
        let endpoint = Endpoint::from(url.clone())
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_WITHIN)
            .keep_alive_while_idle(true);
        endpoint.connect_with_connector(once).await.map_err(|err| failed(&err))
    }
}

async fn dial(url: &Uri, tls: TlsConnector) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let host = url.host().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let stream = TcpStream::connect((host, url.port_u16().unwrap_or_default())).await?;
    stream.set_nodelay(true)?;
    // The name proves nothing: a server is known by its certificate's identity and the pin.
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    tls.connect(name, stream).await
}

fn known(servers: Vec<muster_proto::enrolment::v1::KnownServer>) -> BTreeMap<u64, KnownServer> {
    let one = |server: muster_proto::enrolment::v1::KnownServer| {
        (server.id, KnownServer { address: server.peer_address, enrolment_urls: server.enrolment_urls })
    };
    servers.into_iter().map(one).collect()
}

/// An error and its causes, in one line.
fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = error.source();
    }
    words
}
