//! Which certificate requests of a cluster are to be approved: a pure function of the state and the request.
//!
//! What a request says is a claim. What counts is who the API server says has made it, and what the state knows of that token
//! or node. The names of Kubernetes are those of pkg/apis/certificates/helpers.go.

mod custody;
mod hold;
mod judge;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    NodeId, TokenId, limits,
    record::{Hold, Role},
};

pub use hold::CsrLook;

/// Signs what a kubelet shows to API servers.
pub const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Signs what a kubelet shows to who calls it.
pub const SERVING_SIGNER: &str = "kubernetes.io/kubelet-serving";
/// What the user name of a bootstrap token begins with.
const TOKEN_USER: &str = "system:bootstrap:";
/// What the user name of a kubelet begins with.
const NODE_USER: &str = "system:node:";
/// The group of kubelets, and the organisation in their certificates.
const NODES: &str = "system:nodes";

/// A certificate request as the API server tells of it, and what is in its PKCS#10.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsrClaim {
    /// `spec.signerName`.
    pub signer: String,
    /// `spec.username`: who the API server has authenticated.
    pub user: String,
    /// `spec.groups`, likewise.
    pub groups: BTreeSet<String>,
    /// `spec.usages`.
    pub usages: BTreeSet<String>,
    /// What the PKCS#10 asks for; `None` if it is none, or its signature is wrong.
    pub content: Option<CsrContent>,
    /// A Node of the name that its join line is for is there and Ready: looked at for such requests alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub node_is_ready: bool,
}

/// What a PKCS#10 asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsrContent {
    /// Common names of the subject, in order.
    pub common_names: Vec<String>,
    /// Organisations of the subject, in order.
    pub organizations: Vec<String>,
    /// DNS names.
    pub dns_names: Vec<String>,
    /// IP addresses, as text.
    pub addresses: Vec<String>,
    /// What else is in it: other parts of the subject, other names, other extensions and attributes.
    pub others: Vec<String>,
}

/// What is to happen to a certificate request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CsrDecision {
    /// Approve it.
    Approve,
    /// Deny it, for this reason.
    Deny(String),
    /// A person has to decide, for this reason.
    Wait(String),
    /// It is none of Muster's business.
    Ignore,
    /// It is right, and it has to be seen first that its token is in no other hands; for this reason it can't be now.
    Hold(String),
}

/// A decision and whom it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) decision: CsrDecision,
    pub(crate) node: Option<NodeId>,
    pub(crate) token: Option<TokenId>,
    /// The token is in two hands.
    pub(crate) stolen: bool,
    /// How far it is in the strict mode.
    pub(crate) hold: Hold,
}

/// The group that a node's bootstrap token authenticates as.
#[must_use]
pub fn bootstrap_group(cluster: &str, role: Role) -> String {
    format!("system:bootstrappers:muster:{cluster}:{role}")
}

impl CsrClaim {
    /// As it may be stored. What is longer than any honest request is as good as unreadable, so that nobody fills a command.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        if !self.is_bounded() {
            let clip = |text: &String| limits::clip_to(text, limits::CLAIM_MAX);
            let some = |texts: &BTreeSet<String>| texts.iter().take(limits::CSR_TEXTS_MAX).map(clip).collect();
            (self.signer, self.user, self.content) = (clip(&self.signer), clip(&self.user), None);
            (self.groups, self.usages) = (some(&self.groups), some(&self.usages));
        }
        self
    }

    pub(crate) fn is_bounded(&self) -> bool {
        let content = self.content.iter().flat_map(|content| {
            let names = content.common_names.iter().chain(&content.organizations);
            names.chain(&content.dns_names).chain(&content.addresses).chain(&content.others)
        });
        let mut texts = [&self.signer, &self.user].into_iter().chain(&self.groups).chain(&self.usages).chain(content);
        texts.clone().count() <= limits::CSR_TEXTS_MAX && texts.all(|text| text.len() <= limits::CLAIM_MAX)
    }
}
