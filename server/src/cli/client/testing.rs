//! A server of this process that answers from a few lists, so that commands can be run whole.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use muster_proto::admin::v1::admin_service_server::{AdminService, AdminServiceServer};
use muster_proto::admin::v1::*;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status as Refusal};

use super::Session;

type Answer<T> = Result<Response<T>, Refusal>;
type Items<T> = Pin<Box<dyn Stream<Item = Result<T, Refusal>> + Send>>;

type MakeBackup = fn(&[u8]) -> Vec<BackupPart>;

/// What the server knows, and what it was asked.
#[derive(Default)]
pub(in crate::cli) struct World {
    pub(in crate::cli) status: Status,
    pub(in crate::cli) clusters: Vec<Cluster>,
    pub(in crate::cli) nodes: Vec<Node>,
    /// What a watch tells after the nodes as they are; then it stays open.
    pub(in crate::cli) moves: Vec<Node>,
    pub(in crate::cli) tokens: Vec<Token>,
    pub(in crate::cli) permits: Vec<Permit>,
    pub(in crate::cli) events: Vec<Event>,
    pub(in crate::cli) logs: Vec<LogLine>,
    pub(in crate::cli) applied: ApplyClusterResponse,
    /// Calls so far.
    pub(in crate::cli) calls: u32,
    /// Answer every call with this.
    pub(in crate::cli) refuse: Option<Refusal>,
    /// Changing requests, in order, as `verb detail`.
    pub(in crate::cli) changes: Vec<String>,
    pub(in crate::cli) approvals: Vec<ApproveNodeRequest>,
    pub(in crate::cli) new_tokens: Vec<CreateTokenRequest>,
    pub(in crate::cli) new_clusters: Vec<ClusterSpec>,
    pub(in crate::cli) event_requests: Vec<ListEventsRequest>,
    pub(in crate::cli) pki: Vec<PkiFile>,
    pub(in crate::cli) kubeconfigs: Vec<String>,
    pub(in crate::cli) servers: ServerList,
    pub(in crate::cli) server_requests: Vec<ListServersRequest>,
    pub(in crate::cli) new_server_tokens: Vec<CreateServerTokenRequest>,
    /// Makes the backup that is sealed to the public key of a request.
    pub(in crate::cli) backup: Option<MakeBackup>,
}

/// A handle on the world of a running server.
#[derive(Clone)]
pub(in crate::cli) struct Fake(Arc<Mutex<World>>);

impl Fake {
    pub(in crate::cli) fn new(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    pub(in crate::cli) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// Everything a handler needs, or the refusal that was ordered.
    fn asked(&self) -> Result<MutexGuard<'_, World>, Refusal> {
        let mut world = self.world();
        world.calls += 1;
        match &world.refuse {
            Some(refusal) => Err(refusal.clone()),
            None => Ok(world),
        }
    }

    fn node(&self, verb: &str, request: NodeRequest) -> Answer<Node> {
        let mut world = self.asked()?;
        assert!(!request.request_id.is_empty());
        world.changes.push(format!("{verb} {} {}", request.node, request.reason).trim_end().to_owned());
        world.node(&request.node)
    }
}

impl Fake {
    fn server(&self, id: u64, change: String) -> Answer<Server> {
        let mut world = self.asked()?;
        world.changes.push(change.trim_end().to_owned());
        let server = world.servers.items.iter().find(|server| server.id == id).cloned();
        server.map(Response::new).ok_or_else(|| Refusal::not_found(format!("no server {id}")))
    }
}

impl World {
    fn node(&self, id: &str) -> Answer<Node> {
        let node = self.nodes.iter().find(|node| node.id == id).cloned();
        node.map(Response::new).ok_or_else(|| Refusal::not_found(format!("no node {id}")))
    }

    fn nodes(&self, request: &ListNodesRequest) -> Vec<Node> {
        let fits = |node: &&Node| {
            (request.node.is_empty() || node.id.starts_with(&request.node) || node.name == request.node)
                && (request.cluster.is_empty() || node.cluster == request.cluster)
        };
        self.nodes.iter().filter(fits).cloned().collect()
    }
}

/// Starts a server on loopback and returns a session with it.
pub(in crate::cli) async fn mk_session(world: World) -> (Session, Fake) {
    let fake = Fake::new(world);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = AdminServiceServer::new(fake.clone());
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let uri = format!("http://{address}/").parse().unwrap();
    (Session::new(vec![uri], None, None), fake)
}

fn stay_open<T: Send + 'static>(items: Vec<T>) -> Answer<Items<T>> {
    let items = tokio_stream::iter(items.into_iter().map(Ok));
    Ok(Response::new(Box::pin(items.chain(tokio_stream::pending()))))
}

#[tonic::async_trait]
impl AdminService for Fake {
    type WatchNodesStream = Items<Node>;
    type WatchEventsStream = Items<Event>;
    type FollowLogsStream = Items<LogLine>;
    type TakeBackupStream = Items<BackupPart>;

    async fn get_status(&self, _: Request<GetStatusRequest>) -> Answer<Status> {
        Ok(Response::new(self.asked()?.status.clone()))
    }

    async fn create_cluster(&self, request: Request<CreateClusterRequest>) -> Answer<Cluster> {
        let mut world = self.asked()?;
        let spec = request.into_inner().spec.unwrap();
        world.new_clusters.push(spec.clone());
        Ok(Response::new(Cluster {
            id: "c1".into(),
            spec: Some(spec),
            ca_pins: vec!["sha256:aa".into()],
            ..Cluster::default()
        }))
    }

    async fn import_cluster(&self, request: Request<ImportClusterRequest>) -> Answer<Cluster> {
        let mut world = self.asked()?;
        let request = request.into_inner();
        world.pki = request.pki;
        world.kubeconfigs.push(request.kubeconfig);
        Ok(Response::new(Cluster { id: "c1".into(), spec: request.spec, ..Cluster::default() }))
    }

    async fn set_cluster_credentials(&self, request: Request<SetClusterCredentialsRequest>) -> Answer<Cluster> {
        let mut world = self.asked()?;
        let request = request.into_inner();
        world.kubeconfigs.push(request.kubeconfig);
        let spec = ClusterSpec { name: request.cluster, ..ClusterSpec::default() };
        Ok(Response::new(Cluster { id: "c1".into(), spec: Some(spec), ..Cluster::default() }))
    }

    async fn apply_cluster(&self, request: Request<ApplyClusterRequest>) -> Answer<ApplyClusterResponse> {
        let mut world = self.asked()?;
        let request = request.into_inner();
        world.changes.push(format!("apply dry_run={}", request.dry_run));
        let mut response = world.applied.clone();
        response.cluster = Some(Cluster { id: "c1".into(), spec: request.spec, ..Cluster::default() });
        Ok(Response::new(response))
    }

    async fn list_clusters(&self, request: Request<ListClustersRequest>) -> Answer<ClusterList> {
        let world = self.asked()?;
        let wanted = request.into_inner().cluster;
        let name = |cluster: &Cluster| cluster.spec.clone().unwrap_or_default().name;
        let fits = |cluster: &&Cluster| wanted.is_empty() || cluster.id.starts_with(&wanted) || name(cluster) == wanted;
        Ok(Response::new(ClusterList { items: world.clusters.iter().filter(fits).cloned().collect() }))
    }

    async fn list_nodes(&self, request: Request<ListNodesRequest>) -> Answer<NodeList> {
        let world = self.asked()?;
        Ok(Response::new(NodeList { items: world.nodes(request.get_ref()) }))
    }

    async fn watch_nodes(&self, request: Request<ListNodesRequest>) -> Answer<Items<Node>> {
        let world = self.asked()?;
        let mut items = world.nodes(request.get_ref());
        items.extend(world.moves.clone());
        stay_open(items)
    }

    async fn approve_node(&self, request: Request<ApproveNodeRequest>) -> Answer<Node> {
        let mut world = self.asked()?;
        let request = request.into_inner();
        let node = world.node(&request.node);
        world.approvals.push(request);
        node
    }

    async fn deny_node(&self, request: Request<NodeRequest>) -> Answer<Node> {
        self.node("deny", request.into_inner())
    }

    async fn retry_node(&self, request: Request<NodeRequest>) -> Answer<Node> {
        self.node("retry", request.into_inner())
    }

    async fn remove_node(&self, request: Request<NodeRequest>) -> Answer<Node> {
        self.node("remove", request.into_inner())
    }

    async fn lock_node(&self, request: Request<NodeRequest>) -> Answer<Node> {
        self.node("lock", request.into_inner())
    }

    async fn unlock_node(&self, request: Request<NodeRequest>) -> Answer<Node> {
        self.node("unlock", request.into_inner())
    }

    async fn create_token(&self, request: Request<CreateTokenRequest>) -> Answer<Token> {
        let mut world = self.asked()?;
        let request = request.into_inner();
        let token = Token { id: request.id.clone(), node_name: request.node_name.clone(), ..Token::default() };
        world.changes.push(format!("create-token {}", request.node_name));
        world.new_tokens.push(request);
        Ok(Response::new(token))
    }

    async fn list_tokens(&self, _: Request<ListTokensRequest>) -> Answer<TokenList> {
        Ok(Response::new(TokenList { items: self.asked()?.tokens.clone() }))
    }

    async fn revoke_token(&self, request: Request<RevokeTokenRequest>) -> Answer<Token> {
        let mut world = self.asked()?;
        let id = request.into_inner().id;
        world.changes.push(format!("revoke-token {id}"));
        Ok(Response::new(Token { id, ..Token::default() }))
    }

    async fn renew_token(&self, request: Request<RenewTokenRequest>) -> Answer<Token> {
        let mut world = self.asked()?;
        let request = request.into_inner();
        world.changes.push(format!("renew-token {} {}", request.id, request.ttl_seconds));
        Ok(Response::new(Token { id: request.id, ..Token::default() }))
    }

    async fn create_join_command(&self, request: Request<CreateJoinCommandRequest>) -> Answer<JoinCommand> {
        let mut world = self.asked()?;
        let request = request.into_inner();
        let CreateJoinCommandRequest { cluster, role, ttl_seconds, node_name, discovery, .. } = request;
        let approval = if node_name.is_empty() { "person" } else { "muster" };
        world.changes.push(format!("join-command {cluster} {role} {ttl_seconds} {node_name}").trim_end().to_owned());
        let line = match discovery.as_str() {
            "token" => "kubeadm join …".into(),
            by => format!("SSL_CERT_FILE=x kubeadm join {by} …"),
        };
        let token_id = "abcdef".into();
        Ok(Response::new(JoinCommand { line, expires: None, token_id, approval: approval.into() }))
    }

    async fn list_permits(&self, _: Request<ListPermitsRequest>) -> Answer<PermitList> {
        Ok(Response::new(PermitList { items: self.asked()?.permits.clone() }))
    }

    async fn list_events(&self, request: Request<ListEventsRequest>) -> Answer<EventList> {
        let mut world = self.asked()?;
        world.event_requests.push(request.into_inner());
        Ok(Response::new(EventList { items: world.events.clone() }))
    }

    async fn watch_events(&self, request: Request<ListEventsRequest>) -> Answer<Items<Event>> {
        let mut world = self.asked()?;
        world.event_requests.push(request.into_inner());
        stay_open(world.events.clone())
    }

    async fn list_servers(&self, request: Request<ListServersRequest>) -> Answer<ServerList> {
        let mut world = self.asked()?;
        let request = request.into_inner();
        world.server_requests.push(request);
        let mut list = ServerList { stale: request.stale, ..world.servers.clone() };
        list.items.retain(|server| request.server == 0 || server.id == request.server);
        if list.items.is_empty() { Err(Refusal::not_found("there is no such server")) } else { Ok(Response::new(list)) }
    }

    async fn create_server_token(&self, request: Request<CreateServerTokenRequest>) -> Answer<Token> {
        let mut world = self.asked()?;
        let request = request.into_inner();
        let token = Token { id: request.id.clone(), kind: "server".into(), ..Token::default() };
        world.new_server_tokens.push(request);
        Ok(Response::new(token))
    }

    async fn approve_server(&self, request: Request<ApproveServerRequest>) -> Answer<Server> {
        let request = request.into_inner();
        self.server(request.server, format!("approve-server {} {}", request.server, request.key_fingerprint))
    }

    async fn promote_server(&self, request: Request<ServerRequest>) -> Answer<Server> {
        let id = request.into_inner().server;
        self.server(id, format!("promote-server {id}"))
    }

    async fn remove_server(&self, request: Request<RemoveServerRequest>) -> Answer<Server> {
        let request = request.into_inner();
        let change = format!("remove-server {} force={} {}", request.server, request.force, request.reason);
        self.server(request.server, change)
    }

    async fn remove_etcd_member(&self, request: Request<RemoveEtcdMemberRequest>) -> Answer<Cluster> {
        let RemoveEtcdMemberRequest { request_id, cluster, member, reason } = request.into_inner();
        assert!(!request_id.is_empty());
        let mut world = self.asked()?;
        world.changes.push(format!("remove-etcd {cluster} {member} {reason}").trim_end().to_owned());
        let found = world.clusters.iter().find(|known| known.id == cluster).cloned();
        found.map(Response::new).ok_or_else(|| Refusal::not_found(format!("no cluster {cluster}")))
    }

    async fn transfer_leader(&self, request: Request<TransferLeaderRequest>) -> Answer<TransferLeaderResponse> {
        let mut world = self.asked()?;
        let TransferLeaderRequest { server, from, .. } = request.into_inner();
        world.changes.push(format!("transfer-leader {from} {server}"));
        Ok(Response::new(TransferLeaderResponse { leader_id: server.max(2), raft_term: 4 }))
    }

    async fn take_snapshot(&self, _: Request<TakeSnapshotRequest>) -> Answer<TakeSnapshotResponse> {
        self.asked()?.changes.push("snapshot".into());
        Ok(Response::new(TakeSnapshotResponse { server_id: 1, snapshot_index: 77 }))
    }

    async fn follow_logs(&self, _: Request<FollowLogsRequest>) -> Answer<Items<LogLine>> {
        let lines = self.asked()?.logs.clone();
        Ok(Response::new(Box::pin(tokio_stream::iter(lines.into_iter().map(Ok)))))
    }

    async fn get_seal(&self, _: Request<GetSealRequest>) -> Answer<Seal> {
        let keys = [(1, 3), (2, 7)].map(|(number, secrets)| DataKey { number, secrets, servers: vec![1, 2] });
        drop(self.asked()?);
        Ok(Response::new(Seal { data_key: 2, data_keys: keys.to_vec() }))
    }

    async fn rotate_data_key(&self, request: Request<RotateDataKeyRequest>) -> Answer<Seal> {
        assert!(!request.into_inner().request_id.is_empty());
        self.asked()?.changes.push("rotate-data-key".to_owned());
        self.get_seal(Request::new(GetSealRequest {})).await
    }

    async fn renew_operator(&self, _: Request<RenewOperatorRequest>) -> Answer<OperatorCertificate> {
        self.asked()?.changes.push("renew-operator".to_owned());
        Ok(Response::new(OperatorCertificate::default()))
    }

    async fn take_backup(&self, request: Request<TakeBackupRequest>) -> Answer<Items<BackupPart>> {
        let mut world = self.asked()?;
        let request = request.into_inner();
        assert!(!request.request_id.is_empty());
        world.changes.push("take-backup".to_owned());
        let parts = world.backup.map(|make| make(&request.public_key)).unwrap_or_default();
        Ok(Response::new(Box::pin(tokio_stream::iter(parts.into_iter().map(Ok)))))
    }
}
