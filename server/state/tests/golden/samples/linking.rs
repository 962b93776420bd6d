//! What comes from a link to a cluster's API.

use std::collections::BTreeMap;

use muster_state::{
    Command, Reply,
    command::{DecideCsr, MoveTokens, ObserveNodes, RecordLink, TokenStep, UpdateCluster},
    csr::{CsrClaim, CsrContent, CsrDecision},
    record::{ApiNode, ClusterSpec, CsrApproval, Link, LinkCondition},
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
    }
}

/// Every verb of the link.
pub(super) fn commands() -> Vec<(&'static str, Command)> {
    let seen = ApiNode { uid: "uid-1".into(), ready: true, message: String::new(), kubelet_version: "v1.36.2".into() };
    let nodes = BTreeMap::from([(name("w1"), Some(seen)), (name("w2"), None)]);
    let link = Some(Link { csr_approval: CsrApproval::Muster });
    let linked = ClusterSpec { link, ..world::spec("c1") };
    let decide =
        |claim| DecideCsr { cluster: "c1".into(), uid: "u-1".into(), name: "csr-x".into(), digest: digest(6), claim };
    let tokens = |to| plain(MoveTokens { cluster: "c1".into(), tokens: vec!["b1".into()], to });
    vec![
        (
            "RecordLink",
            plain(RecordLink {
                cluster: "c1".into(),
                condition: LinkCondition::Unreachable,
                message: "refused".into(),
            }),
        ),
        ("ObserveNodes", plain(ObserveNodes { cluster: "c1".into(), nodes })),
        ("DecideCsr", plain(decide(claim()))),
        ("DecideCsr-unreadable", plain(decide(CsrClaim { content: None, ..claim() }))),
        ("MoveTokens-offered", tokens(TokenStep::Offered)),
        ("MoveTokens-present", tokens(TokenStep::Present)),
        ("MoveTokens-deleted", tokens(TokenStep::Deleted)),
        ("UpdateCluster-linked", plain(UpdateCluster { id: "c1".into(), revision: 3, spec: linked })),
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
        ("DecideCsr-ignore", Reply::DecideCsr(CsrDecision::Ignore)),
        ("MoveTokens", Reply::MoveTokens(())),
    ]
}
