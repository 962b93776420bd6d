//! A server with a real log on a real disk, called as an operator.

use std::{net::SocketAddr, time::Duration};

use muster_proto::admin::v1::{
    ApplyClusterRequest, ApproveNodeRequest, ClusterSpec, ListNodesRequest, Node, NodeRequest,
    admin_service_server::AdminService as _,
};
use muster_state::{
    NodeId,
    command::RecordHello,
    facts::{Facts, Preflight},
    record::Attachment,
};
use muster_trust::Peer;
use tokio_stream::StreamExt as _;
use tonic::{Request, Status};

use crate::{
    api::{
        admin::{Admin, stream::Streamed},
        fixture::{mk_enrol, mk_spec},
        leader::Leader,
        listener::Connection,
        wire,
    },
    clock::now_ms,
    consensus::{self, Consensus},
    ledger::Ledger,
    operations::{
        Unsealed,
        founded::Founded,
        urls::{Places, Urls},
    },
    peers::{Client, Gate, greet::Memory},
    pki::LeafTerms,
};

/// Longest wait for what must come at once; a loaded machine takes its time.
const SOON: Duration = Duration::from_secs(20);

/// A running server. Stop it at the end of a test.
pub(super) struct Served {
    pub(super) admin: Admin,
    founded: Founded,
}

impl Served {
    pub(super) async fn start() -> Self {
        let founded = Founded::start(Places {
            own: Urls { enrolment: vec!["https://192.0.2.5:9443".into()], ..Urls::default() },
            ..Places::default()
        });
        let founded = founded.await;
        let server = founded.server.clone();
        let client = Client::new(Gate::default(), Memory::default());
        let leader = Leader { client, ledger: server.ledger.clone() };
        Self { admin: Admin { server, leader }, founded }
    }

    /// Another server of the fleet, one that does not vote: it belongs to no group yet.
    pub(super) async fn relay(&self, home: &std::path::Path) -> (Admin, Consensus<muster_state::State>) {
        let consensus = Consensus::open(consensus::Options::new(home, 2)).await.unwrap();
        let server = Unsealed { ledger: Ledger::new(consensus.clone()), ..self.server().clone() };
        let leader = Leader { client: self.admin.leader.client.clone(), ledger: server.ledger.clone() };
        (Admin { server, leader }, consensus)
    }

    pub(super) async fn stop(self) {
        self.founded.stop().await;
    }

    pub(super) fn server(&self) -> &Unsealed {
        &self.admin.server
    }

    /// A call by an operator.
    pub(super) fn ask<T>(&self, body: T) -> Request<T> {
        let identity = self.server().keys().unwrap().pki.issue(&LeafTerms::operator("first"), now_ms()).unwrap();
        let peer = Peer::of_certificate(&identity.certified.chain[0]).unwrap();
        let mut request = Request::new(body);
        let remote = SocketAddr::from(([192, 0, 2, 9], 40_000));
        request.extensions_mut().insert(Connection { remote, peer: Some(peer) });
        request
    }

    /// A machine that shows itself without a token.
    pub(super) async fn enrol(&self, id: &str) -> NodeId {
        self.server().ledger.propose(mk_enrol(id, None)).await.unwrap().node
    }

    /// Approves a machine that waits, as a control plane of `prod`.
    pub(super) async fn approve(&self, id: &str, name: &str) {
        let body = ListNodesRequest { node: id.into(), ..ListNodesRequest::default() };
        let seen = self.admin.list_nodes(self.ask(body)).await.unwrap().into_inner().items.remove(0);
        self.admin.approve_node(self.ask(approval(&format!("approve {name}"), &seen, name))).await.unwrap();
    }

    /// Its agent attaches here, by the stream with that number.
    pub(super) async fn attach(&self, id: &str, stream: u64) -> Attachment {
        let at = Attachment { server: 1, start: 1, stream };
        let hello = RecordHello {
            node: id.into(),
            boot_id: "b".into(),
            agent_version: "0".into(),
            facts: Facts { uuid: id.into(), ..Facts::default() },
            preflight: Preflight::default(),
            rehearsed: true,
            key: None,
            stream: Some(at),
        };
        self.server().ledger.propose(hello).await.unwrap();
        at
    }
}

/// `prod` with keys that are made quickly.
pub(super) fn spec() -> ClusterSpec {
    wire::cluster::spec::render(&mk_spec())
}

pub(super) fn apply(request_id: &str, spec: ClusterSpec, dry_run: bool) -> ApplyClusterRequest {
    ApplyClusterRequest { request_id: request_id.into(), spec: Some(spec), dry_run }
}

pub(super) fn node_request(request_id: &str, node: &str) -> NodeRequest {
    NodeRequest { request_id: request_id.into(), node: node.into(), reason: "a test".into() }
}

/// An approval of what was shown.
pub(super) fn approval(request_id: &str, seen: &Node, name: &str) -> ApproveNodeRequest {
    ApproveNodeRequest {
        request_id: request_id.into(),
        node: seen.id.clone(),
        key_fingerprint: seen.key_fingerprint.clone(),
        facts_revision: seen.facts_revision,
        pool: "cp".into(),
        name: name.into(),
        ..ApproveNodeRequest::default()
    }
}

/// The next item of a stream that must come soon; `None` at its end.
pub(super) async fn next<T>(stream: &mut Streamed<T>) -> Option<Result<T, Status>> {
    tokio::time::timeout(SOON, stream.next()).await.expect("nothing came")
}

/// The closed word of a refusal.
pub(super) fn word(status: &Status) -> &str {
    let reason = status.metadata().get(crate::api::status::REASON);
    reason.and_then(|reason| reason.to_str().ok()).unwrap_or_default()
}
