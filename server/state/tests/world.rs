//! A small fleet to try the rules on. Every command goes through the log's own door and is watched on its way: a
//! refusal leaves no trace, and what holds always is looked at after each.

pub(crate) mod friendly;
pub(crate) mod invariants;
pub(crate) mod servers;

use std::collections::BTreeMap;

use muster_state::{
    Applied, Bytes, ClusterId, Command, Digest, NodeId, NodeName, Refusal, Sealed, Stamp, State, TokenId, Verb, VerbOf,
    command::{CreateCluster, CreateEnrolmentToken, Enrol, Enrolled, FoundFleet, RecordHello, SetCredentials},
    facts::{Facts, Preflight, Selector},
    record::{
        Admission, CaCertificate, ClusterSpec, Credentials, CsrApproval, Link, NamedNode, Origin, Pool, Role,
        SealedSecret,
    },
};

pub(crate) use servers::{record_server, request_server, server_token};

/// 2026-11-22T00:00:00Z.
pub(crate) const START_MS: u64 = 1_795_305_600_000;
pub(crate) const HOUR_MS: u64 = 3_600_000;
pub(crate) const DAY_MS: u64 = 24 * HOUR_MS;

pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) now_ms: u64,
}

impl World {
    /// A founded fleet with cluster `c1`: pools `control` (bound), `workers` (token) and `queue` (approve).
    pub(crate) fn new() -> Self {
        let mut world = Self { state: State::default(), now_ms: START_MS };
        world.done(found());
        world.done(create("c1"));
        world
    }

    /// The same, and the leader has a link to the cluster's API by which Muster approves certificate requests.
    pub(crate) fn linked() -> Self {
        Self::approving(CsrApproval::Muster)
    }

    /// The same, and who approves is said.
    pub(crate) fn approving(csr_approval: CsrApproval) -> Self {
        let mut world = Self { state: State::default(), now_ms: START_MS };
        world.done(found());
        let link = Some(Link { csr_approval });
        let spec = ClusterSpec { link, ..spec("c1") };
        world.done(CreateCluster { spec, ..create("c1") });
        world
    }

    /// The same with tokens made and six machines enrolled: three control planes, two workers, one that waits.
    pub(crate) fn busy() -> Self {
        let mut world = Self::new();
        for (machine, name) in [(1, "cp1"), (2, "cp2"), (3, "cp3")] {
            world.control_plane(machine, name);
        }
        let token = world.token("t-workers", "workers", None, 4);
        for machine in [4, 5] {
            world.enrol(machine, Some(token.clone())).expect("admitted");
        }
        world.pending(6);
        world
    }

    /// Applies a command and gives all of its outcome.
    pub(crate) fn command(&mut self, command: Command) -> Applied {
        invariants::apply_watched(&mut self.state, Stamp { now_ms: self.now_ms }, command)
    }

    /// Applies a verb.
    pub(crate) fn apply<V: VerbOf>(&mut self, verb: V) -> Result<V::Reply, Refusal> {
        let reply = self.command(Command { request: None, verb: verb.into() }).reply?;
        Ok(V::reply(reply).expect("a verb is answered with its own reply"))
    }

    /// Applies a verb that must succeed.
    #[track_caller]
    pub(crate) fn done<V: VerbOf>(&mut self, verb: V) -> V::Reply {
        self.apply(verb).expect("the verb is carried out")
    }

    /// Makes a token for a pool, or for one node of it.
    pub(crate) fn token(&mut self, id: &str, pool: &str, name: Option<&str>, uses: u32) -> (TokenId, Digest) {
        self.done(token(id, "c1", pool, name, uses));
        shown(id)
    }

    /// Enrols the machine with that number.
    pub(crate) fn enrol(&mut self, machine: u8, token: Option<(TokenId, Digest)>) -> Result<Enrolled, Refusal> {
        self.apply(enrol(machine, token))
    }

    /// A control plane named `name`, admitted by its own token.
    pub(crate) fn control_plane(&mut self, machine: u8, name: &str) -> NodeId {
        let token = self.token(&format!("t-{name}"), "control", Some(name), 1);
        let enrolled = self.enrol(machine, Some(token)).expect("admitted");
        assert!(enrolled.admitted);
        enrolled.node
    }

    /// A worker admitted by a pool token.
    pub(crate) fn worker(&mut self, machine: u8) -> NodeId {
        let token = self.token(&format!("t-{machine}"), "workers", None, 1);
        let enrolled = self.enrol(machine, Some(token)).expect("admitted");
        assert!(enrolled.admitted);
        enrolled.node
    }

    /// A machine that waits for an operator.
    pub(crate) fn pending(&mut self, machine: u8) -> NodeId {
        let enrolled = self.enrol(machine, None).expect("queued");
        assert!(!enrolled.admitted);
        enrolled.node
    }
}

pub(crate) fn digest(number: u8) -> Digest {
    Digest([number; 32])
}

pub(crate) fn name(text: &str) -> NodeName {
    NodeName::parse(text).expect("a node name")
}

pub(crate) fn secret(number: u8) -> SealedSecret {
    SealedSecret { revision: 1, sealed: Sealed { epoch: 1, format: 1, bytes: Bytes(vec![number; 4]) } }
}

/// What a machine shows of a token: its id, and a hash that follows from it.
pub(crate) fn shown(id: &str) -> (TokenId, Digest) {
    let sum = id.bytes().fold(7_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    (id.into(), digest(sum))
}

pub(crate) fn found() -> FoundFleet {
    FoundFleet {
        id: "fleet".into(),
        root: Bytes(vec![1]),
        intermediates: BTreeMap::from([("node".into(), Bytes(vec![2]))]),
        keys: BTreeMap::from([("root".into(), secret(3))]),
        wrapped: BTreeMap::from([(1, Bytes(vec![4]))]),
    }
}

pub(crate) fn pool(name: &str, role: Role, admission: Admission) -> Pool {
    Pool {
        name: name.into(),
        role,
        count: 3,
        admission,
        selector: Selector::default(),
        labels: BTreeMap::new(),
        nodes: Vec::new(),
        certificates_direct: false,
        discovery: "file".into(),
        taints: Vec::new(),
    }
}

pub(crate) fn spec(cluster: &str) -> ClusterSpec {
    let mut workers = pool("workers", Role::Worker, Admission::Token);
    let selector = Selector { serial: "rack-7".into(), ..Selector::default() };
    workers.nodes.push(NamedNode { name: name("w-listed"), address: String::new(), selector });
    ClusterSpec {
        name: cluster.into(),
        kubernetes_version: "v1.36.2".into(),
        endpoint: format!("{cluster}.example:6443"),
        pod_subnet: String::new(),
        service_subnet: String::new(),
        dns_domain: String::new(),
        key_algorithm: "RSA-2048".into(),
        pools: vec![
            pool("control", Role::ControlPlane, Admission::Bound),
            workers,
            pool("queue", Role::Worker, Admission::Approve),
        ],
        kubeadm: BTreeMap::new(),
        custodian_secrets: false,
        detached_approval: None,
        cluster_info_closed: false,
        link: None,
    }
}

pub(crate) fn create(cluster: &str) -> CreateCluster {
    let certificate = CaCertificate {
        name: "ca.crt".into(),
        pem: "-----BEGIN CERTIFICATE-----".into(),
        pins: vec!["sha256:00".into()],
        not_after_ms: START_MS + 3650 * DAY_MS,
    };
    CreateCluster {
        id: cluster.into(),
        spec: spec(cluster),
        origin: Origin::Created,
        certificates: vec![certificate],
        service_account_public: "-----BEGIN PUBLIC KEY-----".into(),
        keys: BTreeMap::from([("ca.key".into(), secret(5))]),
        certificate_key: secret(6),
        first_token: Some((TokenId(format!("first-{cluster}")), secret(7))),
        first_token_ttl_ms: DAY_MS,
        credentials: None,
        workers_only: String::new(),
    }
}

/// A cluster that exists and is brought in by a kubeconfig alone.
pub(crate) fn brought(cluster: &str) -> CreateCluster {
    let link = Some(Link { csr_approval: CsrApproval::Muster });
    let spec = spec(cluster);
    let pools = spec.pools.iter().filter(|pool| pool.role == Role::Worker).cloned().collect();
    CreateCluster {
        spec: ClusterSpec { link, pools, ..spec },
        origin: Origin::Imported,
        keys: BTreeMap::new(),
        first_token: None,
        credentials: Some(credentials(1)),
        ..create(cluster)
    }
}

/// One that exists is brought in, or gets other credentials, which may be late.
pub(crate) fn bring(state: &State, cluster: ClusterId, by: u8) -> Verb {
    if by % 8 == 7 {
        return brought("c7").into();
    }
    let now = state.clusters.get(&cluster).and_then(|cluster| cluster.credentials.as_ref());
    let revision = now.map_or(0, |now| now.secret.revision) + u64::from(!by.is_multiple_of(4));
    SetCredentials { cluster, credentials: credentials(revision) }.into()
}

pub(crate) fn credentials(revision: u64) -> Credentials {
    Credentials {
        secret: SealedSecret { revision, ..secret(8) },
        server: "192.0.2.10:6443".into(),
        user: "kubernetes-admin".into(),
        not_after_ms: Some(START_MS + 365 * DAY_MS),
    }
}

pub(crate) fn token(id: &str, cluster: &str, pool: &str, node: Option<&str>, uses: u32) -> CreateEnrolmentToken {
    CreateEnrolmentToken {
        id: id.into(),
        sha256: shown(id).1,
        cluster: ClusterId::from(cluster),
        pool: pool.into(),
        node_name: node.map(name),
        selector: Selector::default(),
        ttl_ms: DAY_MS,
        uses,
    }
}

pub(crate) fn facts(machine: u8) -> Facts {
    Facts {
        uuid: format!("uuid-{machine}"),
        serial: format!("serial-{machine}"),
        product: "box".into(),
        macs: vec![format!("02:00:00:00:00:{machine:02x}")],
        hostname: format!("host-{machine}"),
        ..Facts::default()
    }
}

pub(crate) fn enrol(machine: u8, token: Option<(TokenId, Digest)>) -> Enrol {
    Enrol {
        candidate: NodeId(format!("{machine:02x}node")),
        token,
        key: digest(machine),
        csr: Bytes(vec![machine]),
        sealing_key: Bytes(vec![machine, machine]),
        facts: facts(machine),
        from: "192.0.2.7".into(),
    }
}

pub(crate) fn hello(node: &NodeId, facts: Facts) -> RecordHello {
    RecordHello {
        node: node.clone(),
        boot_id: "boot-1".into(),
        agent_version: "0.1.0".into(),
        facts,
        preflight: Preflight { kubeadm_version: "v1.36.2".into(), ..Preflight::default() },
        stream: None,
        rehearsed: true,
        key: None,
    }
}
