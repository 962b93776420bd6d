//! What a custodian does for a detached cluster, through its API.

use serde::{Deserialize, Serialize};

use super::Verdict;
use crate::{ClusterId, NodeId, NodeName, TokenId, limits};

/// What is to be done. Each is safe when done twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrandKind {
    /// Make these bootstrap tokens Secrets of the cluster.
    ApplyTokens(Vec<TokenId>),
    /// Delete these bootstrap tokens' Secrets.
    DeleteTokens(Vec<TokenId>),
    /// Upload `kubeadm-certs` under the stored certificate key.
    UploadCertificates,
    /// List etcd's members: evidence on what became of this node's join.
    ListEtcdMembers(NodeId),
    /// List pending certificate requests.
    ObserveRequests {
        /// Seen before, and left to others: by uid.
        passed_over: Vec<String>,
        /// Nodes of which it must be known whether they are there and Ready.
        nodes: Vec<NodeName>,
    },
    /// Approve and deny certificate requests, each at the version that was seen.
    ConcludeRequests(Vec<Verdict>),
}

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrandState {
    /// To be done.
    Open,
    /// Done, reported, committed.
    Done,
    /// Reported as failed; planned anew under another number after a pause.
    Failed,
}

/// A piece of work for a custodian.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errand {
    /// Unique for ever in this fleet; `errand-<n>` is its step id.
    pub number: u64,
    /// Where.
    pub cluster: ClusterId,
    /// What.
    pub kind: ErrandKind,
    /// Who does it.
    pub custodian: NodeId,
    /// Where it stands.
    pub state: ErrandState,
    /// When it was made.
    pub created_ms: u64,
    /// Failures in a row of errands of this kind, this one included.
    pub failures: u32,
    /// When one of the same kind may be opened after this one failed; 0: it has not failed.
    pub retry_at_ms: u64,
    /// Key fingerprint to which its payload was released.
    pub released_to: Option<crate::Digest>,
}

impl Errand {
    /// Its id as a step of an instruction.
    pub fn step_id(&self) -> String {
        format!("errand-{}", self.number)
    }

    /// The number in a step id.
    pub fn number_of(step: &str) -> Option<u64> {
        step.strip_prefix("errand-")?.parse().ok()
    }
}

impl ErrandKind {
    /// Two errands touch the same things: a deletion must not overtake an application of the same token.
    pub fn overlaps(&self, other: &Self) -> bool {
        self == other
            || (self.is_of_requests() && other.is_of_requests())
            || self.tokens().iter().any(|token| other.tokens().contains(token))
    }

    /// The bootstrap tokens it touches.
    pub fn tokens(&self) -> &[TokenId] {
        match self {
            Self::ApplyTokens(tokens) | Self::DeleteTokens(tokens) => tokens,
            Self::UploadCertificates
            | Self::ListEtcdMembers(_)
            | Self::ObserveRequests { .. }
            | Self::ConcludeRequests(_) => &[],
        }
    }

    /// It is about certificate requests: looking and answering go one after the other.
    #[must_use]
    pub fn is_of_requests(&self) -> bool {
        matches!(self, Self::ObserveRequests { .. } | Self::ConcludeRequests(_))
    }

    /// A custodian that has left it alone for this long, milliseconds, may be off: another takes over. A kubelet waits five
    /// minutes for its certificate.
    #[must_use]
    pub fn patience_ms(&self) -> u64 {
        if self.is_of_requests() { limits::REQUESTS_PATIENCE_MS } else { limits::ERRAND_PATIENCE_MS }
    }
}
