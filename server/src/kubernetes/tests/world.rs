//! A server with a real log that leads a fleet with one linked cluster, and machines that do what the state asks of them.

use std::{
    collections::BTreeMap,
    future::Future,
    time::{Duration, Instant},
};

use muster_state::{
    ClusterId, NodeId, NodeName, State, TokenId,
    command::{
        ApproveNode, ConfirmIdentity, CreateCluster, GrantPermit, Instruct, IssueCertificate, JudgePreflight,
        RecordHello, Report, StepOutcome,
    },
    facts::{Facts, Preflight},
    record::{
        Attachment, BootstrapTokenState, Certificate, Cluster, ClusterSpec, CsrApproval, Link, LinkCondition, Node,
        Observation, Origin, PermitKind, Purpose, Role, Verb,
    },
};
use rcgen::{DnType, KeyPair};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    api::fixture::{CLUSTER, key_of, mk_enrol, mk_spec},
    clock::now_ms,
    kubeadm::certificate_key::CertificateKey,
    kubernetes,
    operations::{Unsealed, cluster_pki, founded::Founded, mint_token, set_credentials, urls::Places, vault::Secret},
    pki::{ClusterPki, KeyAlgorithm, kubeconfig::Kubeconfig},
};

/// Longest wait for what must come; a loaded machine takes its time.
const SOON: Duration = Duration::from_secs(40);

/// Waits until a condition holds; on timeout says what was seen last.
pub(super) async fn until<T: std::fmt::Debug>(what: &str, look: impl AsyncFn() -> Result<(), T>) {
    let began = Instant::now();
    loop {
        match look().await {
            Ok(()) => return,
            Err(seen) if began.elapsed() > SOON => panic!("{what} has not come; seen last: {seen:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

pub(super) fn mk_pki() -> ClusterPki {
    ClusterPki::generate(KeyAlgorithm::EcdsaP256, now_ms()).unwrap()
}

pub(super) struct World {
    pub(super) server: Unsealed,
    founded: Founded,
    stop: CancellationToken,
    links: JoinHandle<()>,
}

impl World {
    /// A cluster of that PKI at that endpoint, whose first control plane `cp1` has joined. The links run.
    pub(super) async fn start(pki: &ClusterPki, endpoint: &str) -> Self {
        Self::start_at(pki, endpoint, "").await
    }

    /// The same, and `cp1` says that it is at that address.
    pub(super) async fn start_at(pki: &ClusterPki, endpoint: &str, address: &str) -> Self {
        Self::start_as(pki, endpoint, address, false).await
    }

    /// The same; perhaps the API server knows no admission policies.
    pub(super) async fn start_as(pki: &ClusterPki, endpoint: &str, address: &str, custodian_secrets: bool) -> Self {
        let founded = Founded::start(Places::default()).await;
        let create = mk_create(&founded.server, pki, endpoint);
        let spec = ClusterSpec { custodian_secrets, ..create.spec };
        founded.server.ledger.propose(CreateCluster { spec, ..create }).await.unwrap();
        first_control_plane(&founded.server, address).await;
        Self::linked(founded)
    }

    /// A cluster that exists, with that PKI, brought in by that kubeconfig. The links run.
    pub(super) async fn imported(pki: &ClusterPki, kubeconfig: &Kubeconfig, workers_only: &str) -> Self {
        let founded = Founded::start(Places::default()).await;
        let create = mk_imported(&founded.server, pki, kubeconfig, workers_only);
        founded.server.ledger.propose(create).await.unwrap();
        Self::linked(founded)
    }

    fn linked(founded: Founded) -> Self {
        let (server, stop) = (founded.server.clone(), CancellationToken::new());
        let links = tokio::spawn(kubernetes::run(server.clone(), stop.clone()));
        Self { server, founded, stop, links }
    }

    /// Ends the links and begins anew, as another leader does.
    pub(super) async fn reconnect(&mut self) {
        self.stop.cancel();
        (&mut self.links).await.unwrap();
        self.stop = CancellationToken::new();
        self.links = tokio::spawn(kubernetes::run(self.server.clone(), self.stop.clone()));
    }

    /// Ends the links, then the log.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.links.await.unwrap();
        self.founded.stop().await;
    }

    pub(super) fn state<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.server.ledger.read(look)
    }

    pub(super) fn node(&self, id: &NodeId) -> Node {
        self.state(|state| state.nodes[id].clone())
    }

    pub(super) fn condition(&self) -> Option<LinkCondition> {
        self.state(|state| state.clusters[&ClusterId::from(CLUSTER)].link.as_ref().map(|link| link.condition))
    }

    pub(super) async fn until_condition(&self, wanted: LinkCondition) {
        let text = || self.state(|state| state.clusters[&ClusterId::from(CLUSTER)].link.clone());
        until(
            "the condition of the link",
            async || if self.condition() == Some(wanted) { Ok(()) } else { Err(text()) },
        )
        .await;
    }

    pub(super) async fn until_token(&self, id: &TokenId, wanted: BootstrapTokenState) {
        let seen = || {
            self.state(|state| {
                (state.bootstrap_tokens[id].state, state.clusters[&ClusterId::from(CLUSTER)].link.clone())
            })
        };
        until("the token's state", async || if seen().0 == wanted { Ok(()) } else { Err(seen()) }).await;
    }

    /// A worker that has passed its checks.
    pub(super) async fn machine(&self, id: &str, name: &str) -> NodeId {
        admit(&self.server, id, "worker", name, "").await
    }

    /// Its agent comes again, by a stream.
    pub(super) async fn attaches(&self, node: &NodeId) {
        let stream = Attachment { server: 1, start: 1, stream: 1 };
        self.server.ledger.propose(hello(node, self.node(node).facts, Some(stream))).await.unwrap();
    }

    /// The same with a token, not yet known to the cluster.
    pub(super) async fn worker(&self, id: &str, name: &str) -> (NodeId, TokenId) {
        let node = self.machine(id, name).await;
        let cluster = ClusterId::from(CLUSTER);
        let token = mint_token::run(&self.server, &cluster, Purpose::Node(node.clone()), mint_token::NODE_TOKEN_TTL_MS);
        (node.clone(), token.await.unwrap())
    }

    /// A token for a join line, not yet known to the cluster.
    pub(super) async fn line(&self, purpose: Purpose) -> TokenId {
        mint_token::run(&self.server, &ClusterId::from(CLUSTER), purpose, 3_600_000).await.unwrap()
    }

    /// A backup control plane, likewise.
    pub(super) async fn control_plane(&self, id: &str, name: &str) -> (NodeId, TokenId) {
        let node = admit(&self.server, id, "cp", name, "").await;
        let cluster = ClusterId::from(CLUSTER);
        let token = mint_token::run(&self.server, &cluster, Purpose::Node(node.clone()), mint_token::NODE_TOKEN_TTL_MS);
        (node.clone(), token.await.unwrap())
    }

    /// A control plane at that address that has come to its etcd step, and holds no permit yet.
    pub(super) async fn comes_to_etcd(&self, id: &str, name: &str, address: &str) -> NodeId {
        let node = admit(&self.server, id, "cp", name, address).await;
        let cluster = ClusterId::from(CLUSTER);
        let token = mint_token::run(&self.server, &cluster, Purpose::Node(node.clone()), mint_token::NODE_TOKEN_TTL_MS);
        let token = token.await.unwrap();
        self.until_token(&token, BootstrapTokenState::Present).await;
        let steps = vec![Verb::JoinPrepare, Verb::JoinEtcd, Verb::JoinFinish, Verb::WaitReady];
        self.server.ledger.propose(Instruct { node: node.clone(), steps, token: Some(token) }).await.unwrap();
        succeed(&self.server, &node, Verb::JoinPrepare).await;
        node
    }

    /// Its current step fails, and the machine is reset.
    pub(super) async fn fails(&self, node: &NodeId) {
        self.reports(node, StepOutcome::Failed { cause: "Timeout".into(), message: "no answer".into(), clean: true })
            .await;
    }

    async fn reports(&self, node: &NodeId, outcome: StepOutcome) {
        let (attempt, step) = self.state(|state| {
            let node = &state.nodes[node];
            (node.attempt, node.current_step().unwrap().verb.step_id().to_owned())
        });
        self.server.ledger.propose(Report { node: node.clone(), attempt, step, outcome, elapsed_ms: 1 }).await.unwrap();
    }

    /// It is told to join, once its token is there.
    pub(super) async fn joins(&self, node: &NodeId, token: &TokenId) {
        self.is_told(node, token, vec![Verb::JoinWorker, Verb::WaitReady]).await;
    }

    /// It is told these steps, once its token is there.
    pub(super) async fn is_told(&self, node: &NodeId, token: &TokenId, steps: Vec<Verb>) {
        self.until_token(token, BootstrapTokenState::Present).await;
        self.server.ledger.propose(Instruct { node: node.clone(), steps, token: Some(token.clone()) }).await.unwrap();
    }

    /// kubeadm has come to that phase on it.
    pub(super) async fn is_at(&self, node: &NodeId, phase: &str) {
        self.reports(node, StepOutcome::Running { phase: phase.into(), observation: None }).await;
    }

    /// It reports that it has joined, and that its Node is Ready.
    pub(super) async fn has_joined(&self, node: &NodeId) {
        self.has_done(node, &[Verb::JoinWorker, Verb::WaitReady]).await;
    }

    /// It reports these steps as done.
    pub(super) async fn has_done(&self, node: &NodeId, steps: &[Verb]) {
        for step in steps {
            succeed(&self.server, node, *step).await;
        }
    }

    /// What the cluster's record says now.
    pub(super) fn cluster(&self) -> Cluster {
        self.state(|state| state.clusters[&ClusterId::from(CLUSTER)].clone())
    }

    /// The token as a machine would use it.
    pub(super) fn whole_token(&self, id: &TokenId) -> String {
        let record = self.state(|state| state.bootstrap_tokens[id].clone());
        let keys = self.server.keys().unwrap();
        let secret = Secret::BootstrapToken(&record.cluster, id).open_text(&keys.sealer, &record.secret).unwrap();
        format!("{id}.{}", *secret)
    }
}

fn mk_imported(server: &Unsealed, pki: &ClusterPki, kubeconfig: &Kubeconfig, workers_only: &str) -> CreateCluster {
    let create = mk_create(server, pki, &kubeconfig.server);
    let credentials = set_credentials::seal(&server.keys().unwrap().sealer, &create.id, 1, kubeconfig).unwrap();
    let mut spec = create.spec.clone();
    spec.pools.retain(|pool| workers_only.is_empty() || pool.role == Role::Worker);
    let (workers_only, credentials) = (workers_only.to_owned(), Some(credentials));
    CreateCluster { spec, origin: Origin::Imported, credentials, workers_only, ..create }
}

fn mk_create(server: &Unsealed, pki: &ClusterPki, endpoint: &str) -> CreateCluster {
    let id = ClusterId::from(CLUSTER);
    let keys = server.keys().unwrap();
    let stored = cluster_pki::store(&keys.sealer, &id, pki).unwrap();
    let key = CertificateKey::generate().unwrap();
    let link = Some(Link { csr_approval: CsrApproval::Muster });
    CreateCluster {
        spec: ClusterSpec { endpoint: endpoint.into(), link, ..mk_spec() },
        origin: Origin::Created,
        certificates: stored.certificates,
        service_account_public: stored.service_account_public,
        keys: stored.keys,
        certificate_key: Secret::CertificateKey(&id).seal(&keys.sealer, 1, key.expose().expose().as_bytes()).unwrap(),
        first_token: None,
        first_token_ttl_ms: 0,
        credentials: None,
        workers_only: String::new(),
        id,
    }
}

async fn first_control_plane(server: &Unsealed, address: &str) {
    let node = admit(server, "machine-cp1", "cp", "cp1", address).await;
    let grant = GrantPermit { cluster: CLUSTER.into(), kind: PermitKind::Init, node: node.clone() };
    server.ledger.propose(grant).await.unwrap();
    let steps = vec![Verb::Init, Verb::Custodian, Verb::WaitReady];
    server.ledger.propose(Instruct { node: node.clone(), steps, token: None }).await.unwrap();
    for step in [Verb::Init, Verb::Custodian, Verb::WaitReady] {
        succeed(server, &node, step).await;
    }
}

/// Enrolled, approved into a pool under a name, attached, and found fit.
async fn admit(server: &Unsealed, id: &str, pool: &str, name: &str, address: &str) -> NodeId {
    let (ledger, key) = (&server.ledger, key_of(id));
    let node = ledger.propose(mk_enrol(id, None)).await.unwrap().node;
    let approve = ApproveNode {
        node: node.clone(),
        key,
        facts_revision: ledger.read(|state| state.nodes[&node].facts_revision),
        cluster: Some(ClusterId::from(CLUSTER)),
        pool: Some(pool.into()),
        name: Some(NodeName::parse(name).unwrap()),
        replace: false,
    };
    ledger.propose(approve).await.unwrap();
    let certificate = Certificate { chain: Vec::new(), not_after_ms: u64::MAX };
    ledger.propose(IssueCertificate { node: node.clone(), key, certificate }).await.unwrap();
    ledger.propose(ConfirmIdentity { node: node.clone(), key }).await.unwrap();
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let facts = Facts { uuid: id.into(), addresses: Vec::from_iter(some(address)), ..Facts::default() };
    ledger.propose(hello(&node, facts, None)).await.unwrap();
    let revision = ledger.read(|state| state.nodes[&node].preflight_revision);
    ledger.propose(JudgePreflight { node: node.clone(), revision, problem: String::new() }).await.unwrap();
    node
}

fn hello(node: &NodeId, facts: Facts, stream: Option<Attachment>) -> RecordHello {
    RecordHello {
        node: node.clone(),
        boot_id: "b".into(),
        agent_version: "0".into(),
        facts,
        preflight: Preflight::default(),
        rehearsed: false,
        key: None,
        stream,
    }
}

async fn succeed(server: &Unsealed, node: &NodeId, step: Verb) {
    let attempt = server.ledger.read(|state| state.nodes[node].attempt);
    let observation = Observation { found: true, ready: true, ..Observation::default() };
    let outcome = StepOutcome::Succeeded { members: None, observation: Some(observation) };
    let report = Report { node: node.clone(), attempt, step: step.step_id().into(), outcome, elapsed_ms: 1 };
    server.ledger.propose(report).await.unwrap();
}

/// A PKCS#10 for a subject, PEM.
pub(super) fn pkcs10(common_name: &str, organization: &str) -> String {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.distinguished_name.push(DnType::CommonName, common_name);
    request(&params)
}

pub(super) fn request(params: &rcgen::CertificateParams) -> String {
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
}

/// The request's object, as the API server fills in who made it.
pub(super) fn csr(name: &str, token: &TokenId, pem: &str) -> Value {
    use base64::Engine as _;
    json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": { "name": name },
        "spec": {
            "request": base64::engine::general_purpose::STANDARD.encode(pem),
            "signerName": muster_state::csr::CLIENT_SIGNER,
            "username": format!("system:bootstrap:{token}"),
            "groups": ["system:bootstrappers", "system:bootstrappers:muster:prod:worker", "system:authenticated"],
            "usages": ["digital signature", "client auth"],
        },
    })
}

/// A Node's object.
pub(super) fn node(name: &str, ready: &str) -> Value {
    let ready =
        json!({ "type": "Ready", "status": ready, "reason": "KubeletNotReady", "message": "no network plugin" });
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": name, "uid": format!("uid-of-{name}") },
        "status": { "conditions": [ready], "nodeInfo": {
            "kubeletVersion": "v1.36.2", "architecture": "", "bootID": "", "containerRuntimeVersion": "", "kernelVersion": "",
            "kubeProxyVersion": "", "machineID": "", "operatingSystem": "", "osImage": "", "systemUUID": "",
        } },
    })
}

/// Files of a PKI by name.
pub(super) fn pki_of(directory: &std::path::Path) -> ClusterPki {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for name in [
        "ca.crt",
        "ca.key",
        "front-proxy-ca.crt",
        "front-proxy-ca.key",
        "etcd/ca.crt",
        "etcd/ca.key",
        "sa.key",
        "sa.pub",
    ] {
        files.insert(name.into(), std::fs::read(directory.join(name)).unwrap());
    }
    crate::pki::import(&files, now_ms()).unwrap().pki
}

/// So that a future's type can be named nowhere else.
pub(super) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, work).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}
