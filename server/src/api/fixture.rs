//! A fleet for tests in which everything that is secret holds a canary.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use muster_state::{
    Bytes, ClusterId, Digest, FleetId, NodeId, NodeName, Sealed, State, TokenId,
    command::{ApproveNode, CreateCluster, CreateEnrolmentToken, Enrol, FoundFleet, MintBootstrapToken},
    facts::{Facts, Selector},
    record::{Admission, CaCertificate, ClusterSpec, Origin, Pool, Purpose, Role, SealedSecret},
};
use sha2::{Digest as _, Sha256};

/// When everything happens.
pub(crate) const NOW_MS: u64 = 1_800_000_000_000;
/// The cluster's id.
pub(crate) const CLUSTER: &str = "11111111-0000-4000-8000-000000000001";
/// The enrolment token's public part.
pub(crate) const TOKEN: &str = "abcdefgh";
/// The join line's token's public part.
pub(crate) const LINE_TOKEN: &str = "zyxwvu";
/// What stands for every secret, 32 bytes each: a sealed key of the fleet and of the cluster, a wrapped data key, the
/// certificate key, two bootstrap tokens, the hash of an enrolment token.
pub(crate) const CANARIES: [&[u8; 32]; 7] = [
    b"canary-fleet-key-0123456789abcde",
    b"canary-cluster-key-0123456789abc",
    b"canary-data-key-0123456789abcdef",
    b"canary-certificate-key-012345678",
    b"canary-first-token-0123456789abc",
    b"canary-line-token-0123456789abcd",
    b"canary-enrolment-hash-0123456789",
];

/// The canaries that are in some bytes: as they are, in base64, or in hexadecimal digits.
pub(crate) fn canaries_in(bytes: &[u8]) -> Vec<&'static str> {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    let found = CANARIES.iter().filter(|canary| {
        let forms = [String::from_utf8_lossy(canary.as_slice()).into(), STANDARD.encode(canary), hex::encode(canary)];
        // The last character of base64 depends on what follows.
        forms.iter().any(|form| text.contains(&form.trim_end_matches('=').to_lowercase()))
    });
    found.map(|canary| std::str::from_utf8(canary.as_slice()).unwrap()).collect()
}

fn sealed(canary: usize) -> SealedSecret {
    SealedSecret { revision: 1, sealed: Sealed { epoch: 1, format: 1, bytes: Bytes(CANARIES[canary].to_vec()) } }
}

pub(crate) fn mk_pool(name: &str, role: Role, admission: Admission, count: u32) -> Pool {
    Pool {
        name: name.into(),
        role,
        count,
        admission,
        selector: Selector::default(),
        labels: BTreeMap::new(),
        nodes: Vec::new(),
        certificates_direct: false,
        discovery: "file".into(),
        taints: Vec::new(),
    }
}

pub(crate) fn mk_spec() -> ClusterSpec {
    ClusterSpec {
        name: "prod".into(),
        kubernetes_version: "v1.36.2".into(),
        endpoint: "k8s.prod:6443".into(),
        pod_subnet: String::new(),
        service_subnet: String::new(),
        dns_domain: String::new(),
        key_algorithm: "ECDSA-P256".into(),
        pools: vec![
            mk_pool("cp", Role::ControlPlane, Admission::Approve, 3),
            mk_pool("worker", Role::Worker, Admission::Token, 2),
        ],
        kubeadm: BTreeMap::new(),
        custodian_secrets: false,
        detached_approval: None,
        cluster_info_closed: false,
        link: None,
    }
}

/// A fleet with cluster `prod`, an enrolment token for its workers and a token of a join line.
pub(crate) fn mk_state() -> State {
    let mut state = State::default();
    let found = FoundFleet {
        id: FleetId::from("fleet"),
        root: Bytes(b"no certificate".to_vec()),
        intermediates: BTreeMap::from([("node".into(), Bytes(b"no certificate".to_vec()))]),
        keys: BTreeMap::from([("root".into(), sealed(0))]),
        wrapped: BTreeMap::from([(1, Bytes(CANARIES[2].to_vec()))]),
    };
    state.apply_verb(NOW_MS, found).unwrap();
    let certificate = |name: &str| CaCertificate {
        name: name.into(),
        pem: format!("-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n"),
        pins: vec![Digest([name.len() as u8; 32]).to_string()],
        not_after_ms: NOW_MS + 3650 * 86_400_000,
    };
    let create = CreateCluster {
        id: CLUSTER.into(),
        spec: mk_spec(),
        origin: Origin::Created,
        certificates: ["ca.crt", "front-proxy-ca.crt", "etcd/ca.crt"].map(certificate).into(),
        service_account_public: String::new(),
        keys: BTreeMap::from([("ca.key".into(), sealed(1))]),
        certificate_key: sealed(3),
        first_token: Some(("aaaaaa".into(), sealed(4))),
        first_token_ttl_ms: 86_400_000,
        credentials: None,
        workers_only: String::new(),
    };
    state.apply_verb(NOW_MS, create).unwrap();
    state.apply_verb(NOW_MS, mk_token(TOKEN, Digest(*CANARIES[6]))).unwrap();
    let mint = MintBootstrapToken {
        id: LINE_TOKEN.into(),
        cluster: CLUSTER.into(),
        purpose: Purpose::JoinCommand(Role::Worker),
        secret: sealed(5),
        ttl_ms: 3_600_000,
    };
    state.apply_verb(NOW_MS, mint).unwrap();
    state
}

pub(crate) fn mk_token(id: &str, sha256: Digest) -> CreateEnrolmentToken {
    CreateEnrolmentToken {
        id: id.into(),
        sha256,
        cluster: CLUSTER.into(),
        pool: "worker".into(),
        node_name: None,
        selector: Selector::default(),
        ttl_ms: 3_600_000,
        uses: 10,
    }
}

/// The key of the machine that enrols under an id.
pub(crate) fn key_of(id: &str) -> Digest {
    Digest(Sha256::digest(id).into())
}

pub(crate) fn mk_enrol(id: &str, token: Option<(TokenId, Digest)>) -> Enrol {
    Enrol {
        candidate: id.into(),
        token,
        key: key_of(id),
        csr: Bytes(b"csr".to_vec()),
        sealing_key: Bytes(vec![1; 32]),
        facts: Facts { uuid: id.into(), ..Facts::default() },
        from: "192.0.2.1".into(),
    }
}

/// A machine that waits for an operator.
pub(crate) fn pending(state: &mut State, id: &str) -> NodeId {
    state.apply_verb(NOW_MS, mk_enrol(id, None)).unwrap().node
}

/// A worker that a token of its pool admitted.
pub(crate) fn worker(state: &mut State, id: &str) -> NodeId {
    state.apply_verb(NOW_MS, mk_enrol(id, Some((TOKEN.into(), Digest(*CANARIES[6]))))).unwrap().node
}

/// A control plane that an operator approved under a name.
pub(crate) fn control_plane(state: &mut State, id: &str, name: &str) -> NodeId {
    let node = pending(state, id);
    let approve = ApproveNode {
        node: node.clone(),
        key: key_of(id),
        facts_revision: state.nodes[&node].facts_revision,
        cluster: Some(ClusterId::from(CLUSTER)),
        pool: Some("cp".into()),
        name: Some(NodeName::parse(name).unwrap()),
        replace: false,
    };
    state.apply_verb(NOW_MS, approve).unwrap();
    node
}
