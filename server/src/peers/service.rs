//! The called side: who calls, is it meant for this server, may it; then to consensus or to the voter.

use std::sync::Arc;

use muster_proto::internal::raft::v1::{
    AppendRequest, AppendResponse, CampaignRequest, CampaignResponse, Envelope, ForwardRequest, ForwardResponse,
    GreetRequest, GreetResponse, HandOverRequest, HandOverResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    IssueCertificateRequest, IssueCertificateResponse, ProgressRequest, ProgressResponse, ReadIndexRequest,
    ReadIndexResponse, ReadLogRequest, ReadLogResponse, RenderPayloadRequest, RenderPayloadResponse,
    RenewCertificateRequest, RenewCertificateResponse, VoteRequest, VoteResponse,
    peer_service_server::{PeerService, PeerServiceServer},
};
use muster_state::NodeId;
use muster_trust::Role;
use openraft::error::{InstallSnapshotError, RaftError};
use tonic::{Request, Response, Status};

use super::MESSAGE_BYTES_MAX;
use super::gate::Gate;
use super::greet::Memory;
use super::leader::Leader;
use super::logs;
use super::relay::Voter;
use super::roster::{Roster, Standing};
use super::wire::{Malformed, forward, greet, leader, logs as log_wire, raft, relay, snapshot};
use crate::consensus::{ForwardError, Machine, PeerError, PeerHandle, ServerId};
use crate::sessions::Sessions;

/// Who calls, as the connection has proved it. The listener puts it into each request; without it nothing is served.
#[derive(Clone, Debug)]
pub struct Caller(pub muster_trust::Peer);

/// What the door for peers stands on.
pub struct Door<M: Machine> {
    /// The fleet's id.
    pub fleet: String,
    /// This server's id.
    pub id: ServerId,
    /// Where Raft's messages go.
    pub consensus: PeerHandle<M>,
    /// What of Raft's passes.
    pub gate: Gate,
    /// What peers were seen to promise.
    pub memory: Memory,
    /// Who is who.
    pub roster: Arc<dyn Roster>,
    /// Whether a server, which does or does not vote, may forward a command: see [`super::verbs::may_forward`].
    pub may_forward: fn(ServerId, bool, &M::Command) -> bool,
    /// Does what relays ask for.
    pub voter: Arc<dyn Voter>,
    /// Answers for the group while this server leads it.
    pub leader: Arc<dyn Leader>,
    /// What agents attached here print.
    pub sessions: Sessions,
    /// Which start of this server it is.
    pub start: u64,
}

/// The service for the peers' listener, with its bounds.
pub fn service<M: Machine>(door: Door<M>) -> PeerServiceServer<impl PeerService> {
    PeerServiceServer::new(door)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl<M: Machine> PeerService for Door<M> {
    async fn append(&self, request: Request<AppendRequest>) -> Answer<AppendResponse> {
        let (from, request) = self.rafts(request, |request| request.envelope.as_ref())?;
        let rpc = raft::parse_append::<M>(request).map_err(malformed)?;
        let vote = rpc.vote;
        let appended = self.consensus.append_entries(from, rpc).await.map_err(refused)?;
        self.memory.voted(from, vote);
        Ok(Response::new(raft::render_appended(&appended.map_err(stopped)?)))
    }

    async fn vote(&self, request: Request<VoteRequest>) -> Answer<VoteResponse> {
        let (from, request) = self.rafts(request, |request| request.envelope.as_ref())?;
        let rpc = raft::parse_candidacy(request).map_err(malformed)?;
        let vote = rpc.vote;
        let voted = self.consensus.vote(from, rpc).await.map_err(refused)?;
        self.memory.voted(from, vote);
        Ok(Response::new(raft::render_voted(&voted.map_err(stopped)?)))
    }

    async fn install_snapshot(&self, request: Request<InstallSnapshotRequest>) -> Answer<InstallSnapshotResponse> {
        let (from, request) = self.rafts(request, |request| request.envelope.as_ref())?;
        // Sent again, it may arrive whole: not the sender's fault.
        let piece = snapshot::parse::<M>(request).map_err(|error| Status::data_loss(error.to_string()))?;
        let installed = self.consensus.install_snapshot(from, piece).await.map_err(refused)?;
        let outcome = match installed {
            Ok(installed) => Ok(installed),
            Err(RaftError::APIError(InstallSnapshotError::SnapshotMismatch(mismatch))) => Err(mismatch),
            Err(RaftError::Fatal(fatal)) => return Err(Status::unavailable(fatal.to_string())),
        };
        Ok(Response::new(snapshot::render_installed(&outcome)))
    }

    async fn forward(&self, request: Request<ForwardRequest>) -> Answer<ForwardResponse> {
        let (from, request) = self.rafts(request, |request| request.envelope.as_ref())?;
        let parcel = forward::parse::<M>(request).map_err(malformed)?;
        let Standing { votes, .. } = self.member(from)?;
        if parcel.origin.server != from {
            return Err(Status::permission_denied("a parcel must come from the server that folded it"));
        }
        if !parcel.commands().iter().all(|command| (self.may_forward)(from, votes, command)) {
            tracing::warn!(
                from,
                "refused commands of a server that does not vote: it speaks for machines and itself alone"
            );
            // Final, unlike other refusals: the sender must not try until its callers' time is up.
            return Ok(Response::new(forward::render_forwarded(Err(ForwardError::Malformed))));
        }
        let forwarded = self.consensus.forward(from, parcel).await.map_err(refused)?;
        Ok(Response::new(forward::render_forwarded(forwarded)))
    }

    async fn read_index(&self, request: Request<ReadIndexRequest>) -> Answer<ReadIndexResponse> {
        let (from, _) = self.rafts(request, |request| request.envelope.as_ref())?;
        let read = self.consensus.read_index(from).await.map_err(refused)?;
        Ok(Response::new(forward::render_read(read)))
    }

    async fn campaign(&self, request: Request<CampaignRequest>) -> Answer<CampaignResponse> {
        let (from, _) = self.rafts(request, |request| request.envelope.as_ref())?;
        self.consensus.campaign(from).await.map_err(refused)?;
        Ok(Response::new(CampaignResponse {}))
    }

    async fn greet(&self, request: Request<GreetRequest>) -> Answer<GreetResponse> {
        let (from, request) = self.meant(request, |request| request.envelope.as_ref())?;
        let greeting = greet::parse(request).map_err(malformed)?;
        let greeted = self.memory.greeted(from, &greeting, self.roster.standing(from));
        tracing::info!(from, generation = greeting.generation, ?greeted, "a server has started");
        Ok(Response::new(greet::render_greeted(&greeted)))
    }

    async fn render_payload(&self, request: Request<RenderPayloadRequest>) -> Answer<RenderPayloadResponse> {
        let (from, request) = self.meant(request, |request| request.envelope.as_ref())?;
        self.member(from)?;
        let ask = relay::parse_payload_ask(request).map_err(malformed)?;
        Ok(Response::new(relay::render_payload(self.voter.render_payload(from, ask).await)))
    }

    async fn issue_certificate(&self, request: Request<IssueCertificateRequest>) -> Answer<IssueCertificateResponse> {
        let (from, request) = self.meant(request, |request| request.envelope.as_ref())?;
        self.member(from)?;
        let node = NodeId::from(request.node_id.as_str());
        Ok(Response::new(relay::render_issued(self.voter.issue_certificate(from, node).await)))
    }

    async fn renew_certificate(&self, request: Request<RenewCertificateRequest>) -> Answer<RenewCertificateResponse> {
        let (from, request) = self.meant(request, |request| request.envelope.as_ref())?;
        self.member(from)?;
        let ask = relay::parse_renewal_ask(request).map_err(malformed)?;
        Ok(Response::new(relay::render_renewed(self.voter.renew_certificate(from, ask).await)))
    }

    async fn progress(&self, request: Request<ProgressRequest>) -> Answer<ProgressResponse> {
        let (from, _) = self.meant(request, |request| request.envelope.as_ref())?;
        self.member(from)?;
        Ok(Response::new(leader::render_progress(self.leader.progress())))
    }

    async fn hand_over(&self, request: Request<HandOverRequest>) -> Answer<HandOverResponse> {
        let (from, HandOverRequest { next, .. }) = self.meant(request, |request| request.envelope.as_ref())?;
        // A relay takes no operators' calls, so it has nobody's word for this.
        if !self.member(from)?.votes {
            return Err(Status::permission_denied(format!("server {from} does not vote: it can't ask for a leader")));
        }
        tracing::info!(from, next, "another server asks this one to step down");
        Ok(Response::new(leader::render_handed_over(self.leader.hand_over(next).await)))
    }

    async fn read_log(&self, request: Request<ReadLogRequest>) -> Answer<ReadLogResponse> {
        let (from, request) = self.meant(request, |request| request.envelope.as_ref())?;
        // For operators, whose calls a relay does not take.
        if !self.member(from)?.votes {
            return Err(Status::permission_denied(format!(
                "server {from} does not vote: nobody reads logs through it"
            )));
        }
        let part = logs::read(&self.sessions, self.start, &log_wire::parse_ask(request)).await;
        Ok(Response::new(log_wire::render(part)))
    }
}

impl<M: Machine> Door<M> {
    /// A message of Raft's for this server: by whom, and what.
    fn rafts<Q>(&self, request: Request<Q>, of: fn(&Q) -> Option<&Envelope>) -> Result<(ServerId, Q), Status> {
        let (from, request) = self.meant(request, of)?;
        if self.gate.lets_through(from) {
            return Ok((from, request));
        }
        Err(Status::unavailable("this server has only started, and was not welcomed yet"))
    }

    /// A message for this server: by whom, and what.
    fn meant<Q>(&self, request: Request<Q>, of: fn(&Q) -> Option<&Envelope>) -> Result<(ServerId, Q), Status> {
        let caller = request.extensions().get::<Caller>().filter(|caller| caller.0.spiffe.role() == Role::Server);
        let caller = caller.ok_or_else(|| Status::unauthenticated("this call needs a server's certificate"))?;
        let caller = caller.0.spiffe.clone();
        let envelope = of(request.get_ref()).ok_or_else(|| Status::invalid_argument("the message has no envelope"))?;
        let Envelope { fleet, from, to } = envelope;
        if *fleet != self.fleet || caller.fleet() != self.fleet {
            return Err(Status::permission_denied("the message is for another fleet"));
        }
        if caller.id() != from.to_string() {
            let why = format!("the certificate is server {}'s, the message says it is from server {from}", caller.id());
            return Err(Status::permission_denied(why));
        }
        if *to != self.id {
            let why = format!("the message is for server {to}, this is server {}", self.id);
            return Err(Status::failed_precondition(why));
        }
        Ok((*from, request.into_inner()))
    }

    /// Refuses a server that does not belong to the group, or is to leave it.
    fn member(&self, from: ServerId) -> Result<Standing, Status> {
        let standing = self.roster.standing(from);
        if standing.member && !standing.removed {
            return Ok(standing);
        }
        Err(Status::permission_denied(format!("server {from} is no member of this fleet's group")))
    }
}

fn malformed(error: Malformed) -> Status {
    Status::invalid_argument(error.to_string())
}

fn refused(error: PeerError) -> Status {
    match error {
        PeerError::NotAMember { .. } => Status::permission_denied(error.to_string()),
        PeerError::Gap { .. } => Status::invalid_argument(error.to_string()),
    }
}

/// Raft's core here is dead or stopping. To the sender that is no answer: it tries again later.
fn stopped(error: RaftError<ServerId>) -> Status {
    Status::unavailable(error.to_string())
}
