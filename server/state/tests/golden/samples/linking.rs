//! What comes from a link to a cluster's API.

use std::collections::BTreeMap;

use muster_state::{
    Command, Reply,
    command::{
        CertificatesStep, CompareTokens, CompleteErrand, DecideCsr, DropEtcdLearner, EndEtcdRemoval, ErrandOutcome,
        EtcdSeen, ExtendJoinWindow, MintBootstrapToken, MoveCertificates, MoveTokens, ObserveEtcd, ObserveNodes,
        OpenErrand, RecordLink, RemoveEtcdMember, TokenStep, UpdateCluster,
    },
    csr::{CsrClaim, CsrContent, CsrDecision},
    record::{
        ApiNode, ClusterSpec, CsrApproval, ErrandKind, EtcdMember, EtcdProblem, EtcdRemoval, EtcdView, Hold,
        JudgedRequest, Link, LinkCondition, Permit, Purpose, RequestsSeen, Role, SeenRequest, TokenDifference, Verdict,
        WatchedMember,
    },
};

use super::plain;
use crate::world::{self, digest, name};

fn claim() -> CsrClaim {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let content = CsrContent {
        common_names: vec!["system:node:w1".into()],
        organizations: vec!["system:nodes".into()],
        dns_names: vec!["w1".into()],
        addresses: vec!["192.0.2.7".into()],
        others: vec!["2.5.4.7".into()],
    };
    CsrClaim {
        signer: muster_state::csr::CLIENT_SIGNER.into(),
        user: "system:bootstrap:abcdef".into(),
        groups: ["system:bootstrappers".to_owned()].into(),
        usages: texts(&["client auth", "digital signature"]),
        content: Some(content),
        node_is_ready: false,
    }
}

fn learner() -> WatchedMember {
    let peer_urls = vec!["https://192.0.2.12:2380".into()];
    WatchedMember {
        member: EtcdMember { id: "8e9e".into(), name: String::new(), peer_urls, learner: true },
        healthy: false,
    }
}

/// What is stored of etcd: its members with everything that may be known of them, and the permit that waits for it.
pub(in crate::golden) fn etcd() -> (EtcdView, Permit) {
    let view = EtcdView {
        members: vec![learner()],
        since_ms: 7,
        problem: Some(EtcdProblem { message: "refused".into(), since_ms: 8 }),
        removals: vec![EtcdRemoval { member: "8e9e".into(), by_operator: false, since_ms: 9 }],
    };
    let permit = Permit {
        holder: Some("n1".into()),
        evidence_wanted: true,
        evidence_after: 12,
        abandoned: true,
        addresses: vec!["192.0.2.12".into()],
        ..Permit::default()
    };
    (view, permit)
}

/// A certificate request that is held.
pub(in crate::golden) fn held() -> JudgedRequest {
    JudgedRequest {
        uid: "u-1".into(),
        name: "csr-x".into(),
        digest: digest(6),
        token: Some("abcdef".into()),
        approved: false,
        at_ms: 7,
        hold: Hold::Settling,
    }
}

/// Every verb on etcd's members.
fn etcd_commands() -> Vec<(&'static str, Command)> {
    let cluster = || "c1".into();
    let observe = |seen| plain(ObserveEtcd { cluster: cluster(), after: 12, seen });
    let (member, peer_url) = ("8e9e".to_owned(), "https://192.0.2.12:2380".into());
    let remove = RemoveEtcdMember { cluster: cluster(), member: member.clone(), reason: "it burned".into() };
    let end = EndEtcdRemoval { cluster: cluster(), member: member.clone(), problem: "etcd refuses".into() };
    vec![
        ("ObserveEtcd-members", observe(EtcdSeen::Members(vec![learner()]))),
        ("ObserveEtcd-nothing", observe(EtcdSeen::Nothing("refused".into()))),
        ("DropEtcdLearner", plain(DropEtcdLearner { cluster: cluster(), member, peer_url })),
        ("RemoveEtcdMember", plain(remove)),
        ("EndEtcdRemoval", plain(end)),
    ]
}

/// Every verb of the link.
pub(super) fn commands() -> Vec<(&'static str, Command)> {
    let seen = ApiNode { uid: "uid-1".into(), ready: true, message: String::new(), kubelet_version: "v1.36.2".into() };
    let nodes = BTreeMap::from([(name("w1"), Some(seen)), (name("w2"), None)]);
    let link = Some(Link { csr_approval: CsrApproval::Muster });
    let linked = ClusterSpec { link, ..world::spec("c1") };
    let strict = ClusterSpec { link: Some(Link { csr_approval: CsrApproval::Strict }), ..linked.clone() };
    let decide =
        |claim| DecideCsr { cluster: "c1".into(), uid: "u-1".into(), name: "csr-x".into(), digest: digest(6), claim };
    let certificates = |to| plain(MoveCertificates { cluster: "c1".into(), to });
    let mut all = vec![
        (
            "RecordLink",
            plain(RecordLink {
                cluster: "c1".into(),
                condition: LinkCondition::Unreachable,
                message: "refused".into(),
                cluster_info_public: None,
            }),
        ),
        (
            "RecordLink-with-cluster-info",
            plain(RecordLink {
                cluster: "c1".into(),
                condition: LinkCondition::Connected,
                message: String::new(),
                cluster_info_public: Some(true),
            }),
        ),
        ("ObserveNodes", plain(ObserveNodes { cluster: "c1".into(), nodes })),
        ("DecideCsr", plain(decide(claim()))),
        ("DecideCsr-of-a-line", plain(decide(CsrClaim { node_is_ready: true, ..claim() }))),
        ("DecideCsr-unreadable", plain(decide(CsrClaim { content: None, ..claim() }))),
        ("MoveCertificates-uploaded", certificates(CertificatesStep::Uploaded)),
        ("MoveCertificates-removed", certificates(CertificatesStep::Removed)),
        ("ExtendJoinWindow", plain(ExtendJoinWindow { cluster: "c1".into(), ttl_ms: 3_600_000 })),
        ("UpdateCluster-linked", plain(UpdateCluster { id: "c1".into(), revision: 3, spec: linked.clone() })),
        ("UpdateCluster-strict", plain(UpdateCluster { id: "c1".into(), revision: 3, spec: strict })),
        (
            "UpdateCluster-closed",
            plain(UpdateCluster {
                id: "c1".into(),
                revision: 4,
                spec: ClusterSpec { cluster_info_closed: true, ..linked },
            }),
        ),
    ];
    all.extend(etcd_commands());
    all.extend(custody());
    all.extend(tokens());
    all
}

/// What a custodian does about requests.
fn custody() -> Vec<(&'static str, Command)> {
    let open = |kind| plain(OpenErrand { cluster: "c1".into(), kind, custodian: "n1".into() });
    let (uid, version, why) = ("u-1".to_owned(), "9".to_owned(), "it is the second".to_owned());
    let verdict = Verdict { uid: uid.clone(), name: "csr-x".into(), version: version.clone(), approve: false, why };
    let request = SeenRequest { uid, name: "csr-x".into(), version, digest: digest(6), claim: claim() };
    let seen = RequestsSeen {
        requests: vec![request],
        passed_over: ["u-2".to_owned()].into(),
        nodes: BTreeMap::from([(name("w1"), true)]),
        more: true,
    };
    let outcome = ErrandOutcome::Requests(seen);
    let spec = ClusterSpec { detached_approval: Some(CsrApproval::Muster), ..world::spec("c1") };
    vec![
        (
            "OpenErrand-observe-requests",
            open(ErrandKind::ObserveRequests { passed_over: vec!["u-2".into()], nodes: vec![name("w1")] }),
        ),
        ("OpenErrand-conclude-requests", open(ErrandKind::ConcludeRequests(vec![verdict]))),
        ("CompleteErrand-requests", plain(CompleteErrand { number: 7, node: "n1".into(), outcome })),
        ("UpdateCluster-detached-approval", plain(UpdateCluster { id: "c1".into(), revision: 3, spec })),
    ]
}

/// Their replies.
pub(super) fn replies() -> Vec<(&'static str, Reply)> {
    vec![
        ("RecordLink", Reply::RecordLink(())),
        ("ObserveNodes", Reply::ObserveNodes(())),
        ("DecideCsr", Reply::DecideCsr(CsrDecision::Approve)),
        ("DecideCsr-deny", Reply::DecideCsr(CsrDecision::Deny("why".into()))),
        ("DecideCsr-wait", Reply::DecideCsr(CsrDecision::Wait("why".into()))),
        ("DecideCsr-hold", Reply::DecideCsr(CsrDecision::Hold("why".into()))),
        ("DecideCsr-ignore", Reply::DecideCsr(CsrDecision::Ignore)),
        ("MoveTokens", Reply::MoveTokens(())),
        ("ObserveEtcd", Reply::ObserveEtcd(())),
        ("DropEtcdLearner", Reply::DropEtcdLearner(())),
        ("RemoveEtcdMember", Reply::RemoveEtcdMember(())),
        ("EndEtcdRemoval", Reply::EndEtcdRemoval(())),
        ("CompareTokens", Reply::CompareTokens(())),
        ("MoveCertificates", Reply::MoveCertificates(())),
        ("ExtendJoinWindow", Reply::ExtendJoinWindow(())),
    ]
}

/// What becomes of bootstrap tokens.
fn tokens() -> Vec<(&'static str, Command)> {
    let tokens = |to| plain(MoveTokens { cluster: "c1".into(), tokens: vec!["b1".into()], to });
    vec![
        (
            "CompareTokens",
            plain(CompareTokens {
                cluster: "c1".into(),
                tokens: BTreeMap::from([
                    ("b1".into(), Some(TokenDifference::Missing)),
                    ("b2".into(), Some(TokenDifference::Foreign)),
                    ("b3".into(), Some(TokenDifference::Unsigned)),
                    ("b4".into(), Some(TokenDifference::Unreadable)),
                    ("b5".into(), Some(TokenDifference::LeftOver)),
                    ("b6".into(), None),
                ]),
            }),
        ),
        (
            "MintBootstrapToken-join-command-for-a-name",
            plain(MintBootstrapToken {
                id: "b1".into(),
                cluster: "c1".into(),
                purpose: Purpose::NamedJoinCommand(Role::Worker, name("w1")),
                secret: world::secret(1),
                ttl_ms: 900_000,
            }),
        ),
        (
            "MintBootstrapToken-join-command-by-file",
            plain(MintBootstrapToken {
                id: "b1".into(),
                cluster: "c1".into(),
                purpose: Purpose::FileJoinCommand(Role::Worker, Some(name("w1"))),
                secret: world::secret(1),
                ttl_ms: 900_000,
            }),
        ),
        (
            "MintBootstrapToken-join-command-by-file-for-no-name",
            plain(MintBootstrapToken {
                id: "b1".into(),
                cluster: "c1".into(),
                purpose: Purpose::FileJoinCommand(Role::ControlPlane, None),
                secret: world::secret(1),
                ttl_ms: 900_000,
            }),
        ),
        ("MoveTokens-offered", tokens(TokenStep::Offered)),
        ("MoveTokens-present", tokens(TokenStep::Present)),
        ("MoveTokens-deleted", tokens(TokenStep::Deleted)),
        ("MoveTokens-renewing", tokens(TokenStep::Renewing)),
        ("MoveTokens-renewed", tokens(TokenStep::Renewed)),
    ]
}
