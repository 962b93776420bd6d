//! Journey B: an instruction reaches its node, and reports come back.

mod stream;

use std::{pin::Pin, time::Duration};

use muster_proto::join::v1::{
    AgentMessage, RenewRequest, RenewResponse, ServerMessage, agent_message::Message as FromAgent,
    join_service_server::JoinService,
};
use muster_state::Refusal;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use super::{caller, status, voters::Voters};
use crate::{
    ledger::ProposeError,
    operations::{Unsealed, issue_certificate::IssueError},
};

/// Messages to one agent that wait for its connection. Instructions are built from the latest state when there is
/// room, so a slow reader gets the latest and never a growing queue.
const TO_AGENT: usize = 8;
/// An agent says who it is with its first packet; a slow line needs seconds.
const HELLO_WITHIN: Duration = Duration::from_secs(30);

/// The join service.
pub struct Join {
    /// What the server holds.
    pub server: Unsealed,
    /// Do what it can't, if it holds no keys.
    pub voters: Voters,
}

#[tonic::async_trait]
impl JoinService for Join {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<ServerMessage, Status>> + Send>>;

    async fn attach(&self, request: Request<Streaming<AgentMessage>>) -> Result<Response<Self::AttachStream>, Status> {
        let node = caller::node(&request)?;
        let mut from_agent = request.into_inner();
        let first = tokio::select! {
            () = self.server.stopping.cancelled() => return Err(Status::unavailable("the server is stopping")),
            first = timeout(HELLO_WITHIN, from_agent.message()) => {
                first.map_err(|_| Status::deadline_exceeded("the first message must be Hello, at once"))??
            }
        };
        let Some(AgentMessage { message: Some(FromAgent::Hello(hello)) }) = first else {
            return Err(Status::invalid_argument("the first message must be Hello"));
        };
        let (to_agent, stream) = mpsc::channel(TO_AGENT);
        let session = self.server.sessions.attach(&node.id);
        let (server, voters) = (self.server.clone(), self.voters.clone());
        let line = stream::Line { server, voters, node, session, out: to_agent };
        let (began, begun) = oneshot::channel();
        // Apart from this call, which ends when the caller goes: what is recorded as begun is recorded as ended too.
        tokio::spawn(stream::run(line, hello, from_agent, began));
        begun.await.map_err(|_| Status::internal("the stream ended before it began"))??;
        Ok(Response::new(Box::pin(ReceiverStream::new(stream).map(|message| *message))))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        let node = caller::node(&request)?;
        let RenewRequest { csr_der, generation } = request.into_inner();
        let renewed = self.voters.renew_certificate(&self.server, &node.id, node.key, generation, csr_der).await;
        let (generation, certificate) = renewed.map_err(|err| match err {
            IssueError::Propose(err) => of_identity(err),
            IssueError::Request(message) => Status::invalid_argument(message),
            IssueError::Unavailable(why) => Status::unavailable(why),
        })?;
        let certificate_chain = certificate.chain.into_iter().map(|der| der.0).collect();
        Ok(Response::new(RenewResponse { certificate_chain, generation }))
    }
}

/// To a node that was removed, it is its certificate that is not accepted: only then does its agent prove itself anew.
fn of_identity(error: ProposeError) -> Status {
    match &error {
        ProposeError::Refused(Refusal::NotFound { .. }) => {
            Status::permission_denied("this identity is no longer accepted: the node was removed")
        }
        _ => status::of_propose(error),
    }
}
