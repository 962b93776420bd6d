//! Journey A: an unknown machine proves who it is and receives a certificate. A server that wants to join does so in
//! [`server`].

mod server;

use std::{pin::Pin, time::Duration};

use muster_proto::enrolment::v1::{
    Challenge, EnrolRequest, EnrolResponse, Hello, Issued, JoinServerResponse, Pending, Proof, Refused,
    enrol_request::Message as Asked, enrol_response::Message as Answer, enrolment_service_server::EnrolmentService,
};
use muster_state::{NodeId, record::Certificate};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use super::{caller, voters::Voters, wire::statement};
use crate::{
    ledger::ProposeError,
    operations::{Unsealed, enrol_machine, issue_certificate},
    web::metrics::{self, AuthenticationFailure},
};

/// A machine signs within a second; a minute covers the slowest.
const PROOF_TIMEOUT: Duration = Duration::from_secs(60);
/// A pending machine holds its stream this long, then comes again: bounds what a forgotten queue costs.
const PENDING_TIMEOUT: Duration = Duration::from_secs(3600);
/// Messages of one conversation: challenge, a few times pending, the decision.
const ANSWERS: usize = 4;
/// Version of the conversation.
const PROTOCOL: u32 = 1;

/// The enrolment service.
pub struct Enrolment {
    /// What the server holds.
    pub server: Unsealed,
    /// Do what it can't, if it holds no keys.
    pub voters: Voters,
}

type Answers = mpsc::Sender<Result<EnrolResponse, Status>>;

#[tonic::async_trait]
impl EnrolmentService for Enrolment {
    type EnrolStream = Pin<Box<dyn Stream<Item = Result<EnrolResponse, Status>> + Send>>;

    async fn enrol(&self, request: Request<Streaming<EnrolRequest>>) -> Result<Response<Self::EnrolStream>, Status> {
        let from = caller::address(&request).map(|address| address.to_string()).unwrap_or_default();
        let (answers, stream) = mpsc::channel(ANSWERS);
        let (server, voters) = (self.server.clone(), self.voters.clone());
        tokio::spawn(async move {
            let asked = request.into_inner();
            let last = match conversation(&server, &voters, &from, asked, &answers).await {
                Ok(issued) => Ok(answer(Answer::Issued(issued))),
                Err(End::Refused(refused)) => {
                    tracing::info!(reason = refused.reason, from, "an enrolment was refused");
                    count(&refused.reason);
                    Ok(answer(Answer::Refused(refused)))
                }
                Err(End::Broken(status)) => Err(status),
                Err(End::Gone) => return,
            };
            let _ = answers.send(last).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    type JoinServerStream = Pin<Box<dyn Stream<Item = Result<JoinServerResponse, Status>> + Send>>;

    async fn join_server(
        &self,
        request: Request<Streaming<EnrolRequest>>,
    ) -> Result<Response<Self::JoinServerStream>, Status> {
        let from = caller::address(&request).map(|address| address.to_string()).unwrap_or_default();
        let (answers, stream) = mpsc::channel(ANSWERS);
        tokio::spawn(server::converse(self.server.clone(), from, request.into_inner(), answers));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

/// Counts a refusal if it was the machine's identity that was refused, and not the moment.
fn count(reason: &str) {
    let failure = match reason {
        "TokenUnknown" | "TokenSpent" | "TokenExpired" | "TokenRevoked" | "NotYourToken" => {
            AuthenticationFailure::Token
        }
        "ServerTokenUnknown" | "ServerTokenSpent" | "ServerTokenExpired" => AuthenticationFailure::Token,
        "BadStatement" | "BadCertificateRequest" => AuthenticationFailure::Proof,
        "Locked" => AuthenticationFailure::Locked,
        _ => return,
    };
    metrics::authentication_failed(failure);
}

/// Why a conversation ends without a certificate.
enum End {
    Refused(Refused),
    Broken(Status),
    Gone,
}

impl From<ProposeError> for End {
    fn from(error: ProposeError) -> Self {
        Self::Refused(match error {
            ProposeError::Refused(refusal) => refused(refusal.word(), refusal.to_string(), false),
            other => refused("Unavailable", other.to_string(), true),
        })
    }
}

async fn conversation(
    server: &Unsealed,
    voters: &Voters,
    from: &str,
    mut asked: Streaming<EnrolRequest>,
    answers: &Answers,
) -> Result<Issued, End> {
    let challenged = |challenge| answer(Answer::Challenge(challenge));
    let (nonce, Proof { statement, signature, token }) = prove(server, &mut asked, answers, challenged).await?;
    let claims = statement::parse(&statement).map_err(|why| End::Refused(refused("BadStatement", why, false)))?;
    let proof = enrol_machine::Proof { statement: &statement, claims, signature: &signature, token: &token, from };
    let enrolled = enrol_machine::run(server, &nonce, proof).await.map_err(|err| match err {
        enrol_machine::EnrolError::Bad(word, message) => End::Refused(refused(word, message, false)),
        enrol_machine::EnrolError::Propose(error) => error.into(),
    })?;
    if let Some(certificate) = enrolled.certificate {
        return Ok(issued(server, &enrolled.node, certificate));
    }
    let mut watch = server.ledger.watch_node(&enrolled.node);
    let closing = Instant::now() + PENDING_TIMEOUT;
    while !is_admitted(server, &enrolled.node)? {
        answers.send(Ok(answer(Answer::Pending(pending(server, &enrolled.node))))).await.map_err(|_| End::Gone)?;
        tokio::select! {
            () = answers.closed() => return Err(End::Gone),
            () = server.stopping.cancelled() => return Err(End::Broken(Status::unavailable("the server is stopping"))),
            changed = timeout_at(closing, watch.changed()) => match changed {
                Err(_) => return Err(End::Refused(refused("Unavailable", "still pending; come again".into(), true))),
                Ok(Ok(())) => {}
                Ok(Err(_stopped)) => return Err(End::Gone),
            },
        }
    }
    let certificate = voters.issue_certificate(server, &enrolled.node).await.map_err(|err| match err {
        issue_certificate::IssueError::Propose(error) => error.into(),
        issue_certificate::IssueError::Request(message) => {
            End::Refused(refused("BadCertificateRequest", message, false))
        }
        issue_certificate::IssueError::Unavailable(why) => End::Refused(refused("Unavailable", why, true)),
    })?;
    Ok(issued(server, &enrolled.node, certificate))
}

/// Hello, challenge, proof: how every conversation here begins.
async fn prove<A>(
    server: &Unsealed,
    asked: &mut Streaming<EnrolRequest>,
    answers: &mpsc::Sender<Result<A, Status>>,
    challenged: impl FnOnce(Challenge) -> A,
) -> Result<([u8; 32], Proof), End> {
    let deadline = Instant::now() + PROOF_TIMEOUT;
    let Asked::Hello(Hello { protocol, .. }) = next(asked, deadline).await? else {
        return Err(End::Broken(Status::invalid_argument("the first message must be Hello")));
    };
    if protocol != PROTOCOL {
        let message = format!(
            "this server speaks enrolment protocol {PROTOCOL}, the other end {protocol}: use programs of one release"
        );
        return Err(End::Refused(refused("BadStatement", message, false)));
    }
    let nonce = enrol_machine::nonce().map_err(|err| End::Broken(Status::internal(err.to_string())))?;
    let challenge = Challenge { nonce: nonce.to_vec(), fleet: server.fleet.to_string() };
    answers.send(Ok(challenged(challenge))).await.map_err(|_| End::Gone)?;
    match next(asked, deadline).await? {
        Asked::Proof(proof) => Ok((nonce, proof)),
        Asked::Hello(_) => Err(End::Broken(Status::invalid_argument("the second message must be Proof"))),
    }
}

async fn next(asked: &mut Streaming<EnrolRequest>, deadline: Instant) -> Result<Asked, End> {
    let message = timeout(deadline.saturating_duration_since(Instant::now()), asked.message()).await;
    match message {
        Err(_) => Err(End::Broken(Status::deadline_exceeded("the machine took too long to answer"))),
        Ok(Err(status)) => Err(End::Broken(status)),
        Ok(Ok(None)) => Err(End::Gone),
        Ok(Ok(Some(EnrolRequest { message: None }))) => Err(End::Broken(Status::invalid_argument("empty message"))),
        Ok(Ok(Some(EnrolRequest { message: Some(message) }))) => Ok(message),
    }
}

/// Whether the machine is let in by now; a denial, a lock or a removal ends the conversation.
fn is_admitted(server: &Unsealed, id: &NodeId) -> Result<bool, End> {
    use muster_state::{Refusal, record::Standing};
    server.ledger.read(|state| {
        let Some(node) = state.nodes.get(id) else {
            return Err(End::Refused(refused("Denied", "the machine was removed from the queue".into(), false)));
        };
        let refusal = match (&node.locked, &node.standing) {
            (Some(reason), _) => Refusal::Locked(reason.clone()),
            (None, Standing::Denied(reason)) => Refusal::Denied(reason.clone()),
            (None, Standing::Pending { .. }) => return Ok(false),
            (None, Standing::Admitted(_)) => return Ok(true),
        };
        Err(End::from(ProposeError::Refused(refusal)))
    })
}

fn pending(server: &Unsealed, id: &NodeId) -> Pending {
    let (key_fingerprint, message) = server.ledger.read(|state| {
        state.nodes.get(id).map(|node| (node.identity.key.to_string(), node.message.clone())).unwrap_or_default()
    });
    Pending { node_id: id.to_string(), key_fingerprint, message }
}

fn issued(server: &Unsealed, id: &NodeId, certificate: Certificate) -> Issued {
    let generation = server.ledger.read(|state| state.nodes.get(id).map_or(1, |node| node.identity.generation));
    Issued {
        node_id: id.to_string(),
        fleet: server.fleet.to_string(),
        certificate_chain: certificate.chain.into_iter().map(|der| der.0).collect(),
        fleet_root: server.anchors.root().to_vec(),
        node_urls: server.urls().nodes,
        generation,
    }
}

fn refused(reason: &str, message: String, retryable: bool) -> Refused {
    Refused { reason: reason.into(), message, retryable }
}

fn answer(message: Answer) -> EnrolResponse {
    EnrolResponse { message: Some(message) }
}
