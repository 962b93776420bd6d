//! The calling side: messages to other servers, each over the line it belongs on.

mod calls;
mod leader;
mod raft;

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use muster_proto::internal::raft::v1::{Envelope, peer_service_client::PeerServiceClient};
use prost::Message;
use tokio::time::{Instant, timeout};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, TimeoutExpired};

use super::MESSAGE_BYTES_MAX;
use super::dial::{Credentials, Target, chain};
use super::gate::Gate;
use super::greet::Memory;
use super::line::Line;
use super::wire::Malformed;
use crate::consensus::transport::TransportError;
use crate::consensus::types::{Peer, ServerId};
use crate::web::metrics::{PeerCall, PeerFailure, peer_call};

/// A line that nobody has used for so long is hung up: its server may have left.
const IDLE_MAX: Duration = Duration::from_secs(300);

/// Calls other servers. Cheap to clone; all clones share their lines.
///
/// It reaches nobody until it has been told who this server is ([`Client::present`]), and carries nothing of Raft's that the
/// gate does not let through.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    gate: Gate,
    memory: Memory,
    // Both held for a map operation, never over an await.
    credentials: RwLock<Option<Arc<Credentials>>>,
    lines: Mutex<BTreeMap<(ServerId, Lane), Kept>>,
}

/// A line, and when it was asked for last.
struct Kept {
    line: Arc<Line>,
    used: Instant,
}

/// Bulk has a connection of its own, so that no heartbeat waits behind it; and so have relays' questions, so that a rack of
/// machines that renew at once delays nobody's commands, and lines of agents, whose readers wait for more of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Steady,
    Bulk,
    Relayed,
    Logs,
}

const fn lane(call: PeerCall) -> Lane {
    match call {
        PeerCall::Append | PeerCall::Vote | PeerCall::ReadIndex | PeerCall::Campaign | PeerCall::Greet => Lane::Steady,
        PeerCall::InstallSnapshot | PeerCall::Forward => Lane::Bulk,
        PeerCall::RenderPayload
        | PeerCall::IssueCertificate
        | PeerCall::RenewCertificate
        | PeerCall::Progress
        | PeerCall::HandOver => Lane::Relayed,
        PeerCall::ReadLog => Lane::Logs,
    }
}

/// Whether a call is Raft's, and so waits for the gate.
const fn is_rafts(call: PeerCall) -> bool {
    !matches!(
        call,
        PeerCall::Greet
            | PeerCall::RenderPayload
            | PeerCall::IssueCertificate
            | PeerCall::RenewCertificate
            | PeerCall::Progress
            | PeerCall::HandOver
            | PeerCall::ReadLog
    )
}

impl Client {
    /// A client that knows nobody yet. What it sees peers acknowledge goes into `memory`.
    #[must_use]
    pub fn new(gate: Gate, memory: Memory) -> Self {
        let inner = Inner { gate, memory, credentials: RwLock::default(), lines: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Shows these credentials from now on. Connections that stand are replaced one by one, as they are used.
    pub fn present(&self, credentials: Credentials) {
        *self.inner.credentials.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(credentials));
    }

    /// Sends one message and waits for its answer.
    async fn send<Q, A, Sent>(
        &self,
        call: PeerCall,
        (to, peer, within): (ServerId, &Peer, Duration),
        request: impl FnOnce(Envelope) -> Q + Send,
        over: impl FnOnce(PeerServiceClient<Channel>, Request<Q>) -> Sent + Send,
    ) -> Result<A, TransportError>
    where
        Q: Message,
        A: Message,
        Sent: Future<Output = Result<Response<A>, Status>> + Send,
    {
        let began = Instant::now();
        let (line, envelope) = self.line(call, to, peer)?;
        let request = request(envelope);
        let sent_bytes = request.encoded_len();
        if sent_bytes > MESSAGE_BYTES_MAX {
            return Err(TransportError::TooLarge { entries_hint: 1 });
        }
        let mut request = Request::new(request);
        request.set_timeout(within);
        let answered = timeout(within, ask(&line, request, over)).await.unwrap_or(Err(TransportError::TimedOut));
        let outcome = match &answered {
            Ok(answer) => Ok((began.elapsed(), answer.encoded_len())),
            Err(error) => Err(failure(error)),
        };
        peer_call(to, call, sent_bytes, outcome);
        answered
    }

    fn line(&self, call: PeerCall, to: ServerId, peer: &Peer) -> Result<(Arc<Line>, Envelope), TransportError> {
        let unreachable = |why: &str| TransportError::Unreachable(why.to_owned());
        if is_rafts(call) && !self.inner.gate.lets_through(to) {
            return Err(unreachable("this server has only started, and was not welcomed yet"));
        }
        let credentials = self.inner.credentials.read().unwrap_or_else(PoisonError::into_inner).clone();
        let credentials = credentials.ok_or_else(|| unreachable("this server has no certificate yet"))?;
        if credentials.id == to {
            return Err(TransportError::Refused("a server does not call itself".to_owned()));
        }
        let envelope = Envelope { fleet: credentials.fleet.clone(), from: credentials.id, to };
        let now = Instant::now();
        let mut lines = self.inner.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|_, kept| now.duration_since(kept.used) < IDLE_MAX);
        let key = (to, lane(call));
        let known = lines.get(&key).map(|kept| &kept.line).filter(|line| {
            let target = line.target();
            target.peer == *peer && Arc::ptr_eq(&target.credentials, &credentials)
        });
        let line = match known {
            Some(line) => line.clone(),
            None => Line::new(Target { id: to, peer: peer.clone(), credentials }),
        };
        lines.insert(key, Kept { line: line.clone(), used: now });
        Ok((line, envelope))
    }
}

async fn ask<Q, A, Sent>(
    line: &Arc<Line>,
    request: Request<Q>,
    over: impl FnOnce(PeerServiceClient<Channel>, Request<Q>) -> Sent + Send,
) -> Result<A, TransportError>
where
    Sent: Future<Output = Result<Response<A>, Status>> + Send,
{
    let up = line.up().await.map_err(|why| TransportError::Unreachable(why.to_string()))?;
    let client = PeerServiceClient::new(up.channel.clone())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    match over(client, request).await {
        Ok(response) => {
            line.answered(&up);
            Ok(response.into_inner())
        }
        Err(status) => match status.source() {
            // The deadline that travels with the call has a clock of its own, which may strike first.
            Some(cause) if ran_out(cause) => Err(TransportError::TimedOut),
            // Not the server's word: the connection broke, or was never accepted.
            Some(cause) => {
                let why = chain(cause);
                line.broke(&up, &why);
                Err(TransportError::Unreachable(why))
            }
            None => {
                line.answered(&up);
                Err(refusal(&status))
            }
        },
    }
}

fn ran_out(cause: &(dyn StdError + 'static)) -> bool {
    cause.is::<TimeoutExpired>() || cause.source().is_some_and(ran_out)
}

/// What the other end meant by a status of its own.
fn refusal(status: &Status) -> TransportError {
    let words = status.message().to_owned();
    match status.code() {
        Code::DeadlineExceeded | Code::Cancelled => TransportError::TimedOut,
        Code::Unauthenticated
        | Code::PermissionDenied
        | Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented => TransportError::Refused(words),
        _ => TransportError::Unreachable(words),
    }
}

fn failure(error: &TransportError) -> PeerFailure {
    match error {
        TransportError::Unreachable(_) => PeerFailure::Unreachable,
        TransportError::TimedOut => PeerFailure::TimedOut,
        TransportError::TooLarge { .. } => PeerFailure::TooLarge,
        TransportError::Refused(_) => PeerFailure::Refused,
    }
}

/// An answer that has no meaning: the peer is of another release, or broken.
fn meaningless(malformed: Malformed) -> TransportError {
    TransportError::Unreachable(malformed.to_string())
}
