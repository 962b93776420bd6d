//! What this machine tells a server about a piece of work.

use serde::{Deserialize, Serialize};

use crate::instruction::Key;
use crate::kubeadm::Cause;

/// Longest message of a failure, bytes: what a server stores.
pub const MESSAGE_BYTES_MAX: usize = 2048;

/// Why a call failed and how it left the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// From the closed list.
    pub cause: Cause,
    /// The program's last error, scrubbed, at most [`MESSAGE_BYTES_MAX`].
    pub message: String,
    /// Nothing was changed, or a reset followed and worked.
    pub clean: bool,
}

impl Failure {
    /// A failure that changed nothing.
    pub fn untouched(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, message: clip(&message.into(), MESSAGE_BYTES_MAX), clean: true }
    }

    /// A failure that left something behind.
    pub fn unclean(cause: Cause, message: impl Into<String>) -> Self {
        Self { clean: false, ..Self::untouched(cause, message) }
    }
}

/// `text` cut to `max` bytes at a character boundary.
pub fn clip(text: &str, max: usize) -> String {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// A member as etcd lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdMember {
    /// Hexadecimal.
    pub id: String,
    /// Empty until it first started.
    pub name: String,
    /// Where its peers reach it.
    pub peer_urls: Vec<String>,
    /// Does not vote yet.
    pub learner: bool,
}

/// What an etcd answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdMembers {
    /// All of them.
    pub members: Vec<EtcdMember>,
    /// The one that answered, hexadecimal.
    pub self_id: String,
}

impl EtcdMembers {
    /// Whether the member that answered votes.
    pub fn self_votes(&self) -> bool {
        self.members.iter().any(|member| member.id == self.self_id && !member.learner)
    }
}

/// What the machine's own kubeconfig shows of its Node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeObservation {
    /// The Node exists.
    pub found: bool,
    /// Its Ready condition is True.
    pub ready: bool,
    /// Reason of that condition.
    pub reason: String,
    /// Message of that condition.
    pub message: String,
    /// What its kubelet says it is.
    pub kubelet_version: String,
    /// Tells a Node from a later one of the same name.
    pub uid: String,
}

/// A certificate request of the cluster that nobody has approved or denied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRequest {
    /// uid of its object.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// `metadata.resourceVersion`.
    pub version: String,
    /// `spec.signerName`.
    pub signer: String,
    /// `spec.username`.
    pub user: String,
    /// `spec.groups`.
    pub groups: Vec<String>,
    /// `spec.usages`.
    pub usages: Vec<String>,
    /// `spec.request`, base64 of PEM; empty if it is longer than any honest one.
    pub request: String,
}

/// The certificate requests that are pending.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestsSeen {
    /// Those to be told of.
    pub requests: Vec<CertificateRequest>,
    /// Those to be passed over that still are pending, by uid.
    pub passed_over: Vec<String>,
    /// The Nodes that were asked for, and whether each is there and Ready.
    pub nodes: Vec<(String, bool)>,
    /// There are more than fit a report.
    pub more: bool,
}

/// What a successful call saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// For calls about etcd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<EtcdMembers>,
    /// For `WaitReady`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeObservation>,
    /// For `ObserveRequests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Box<RequestsSeen>>,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It did what it should.
    Succeeded(Seen),
    /// It did not.
    Failed(Failure),
    /// The agent is being stopped; the next life finds out what became of the call.
    Stopped,
}

/// News of a running call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// kubeadm entered a phase.
    Phase(String),
    /// The Node changed.
    Node(NodeObservation),
}

/// What a report says of its call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It runs.
    Started,
    /// It came this far.
    Progress(Progress),
    /// It succeeded.
    Succeeded(Seen),
    /// It failed.
    Failed(Failure),
}

/// The state of one call, as sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Unique in its stream.
    pub sequence: u64,
    /// Of what.
    pub key: Key,
    /// What became of it.
    pub outcome: Outcome,
    /// Time since the call began.
    pub elapsed_ms: u64,
}
