//! Enrolment tokens (Muster's own) and bootstrap tokens (Kubernetes').

use serde::{Deserialize, Serialize};

use super::{JudgedRequest, Role, SealedSecret};
use crate::{ClusterId, Digest, NodeId, NodeName, TokenId, facts::Selector};

/// Admits machines, or gets them into the queue. Only its hash is known here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolmentToken {
    /// Public part.
    pub id: TokenId,
    /// SHA-256 of the whole token.
    pub sha256: Digest,
    /// The cluster it is for.
    pub cluster: ClusterId,
    /// The pool it is for.
    pub pool: String,
    /// The one node it admits.
    pub node_name: Option<NodeName>,
    /// Machines it is for.
    pub selector: Selector,
    /// When it was made.
    pub created_ms: u64,
    /// When it runs out.
    pub expires_ms: u64,
    /// How often it may be used.
    pub uses: u32,
    /// By whom it was used, in order.
    pub used_by: Vec<NodeId>,
    /// When it was revoked.
    pub revoked_ms: Option<u64>,
    /// How often somebody else came with it after it was used up or ended.
    pub misuses: u32,
}

/// Whether an enrolment token can still be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenStanding {
    /// It can.
    Live,
    /// All uses are used.
    Spent,
    /// Its time is over.
    Expired,
    /// An operator took it back.
    Revoked,
}

impl EnrolmentToken {
    /// Its standing at a time.
    pub fn standing(&self, now_ms: u64) -> TokenStanding {
        if self.revoked_ms.is_some() {
            TokenStanding::Revoked
        } else if self.used_by.len() >= self.uses as usize {
            TokenStanding::Spent
        } else if now_ms >= self.expires_ms {
            TokenStanding::Expired
        } else {
            TokenStanding::Live
        }
    }
}

/// What a bootstrap token is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// One node's join: usage authentication only.
    Node(NodeId),
    /// A printed `kubeadm join` line: usages signing and authentication.
    JoinCommand(Role),
    /// The same for a machine that joins as this node and no other.
    NamedJoinCommand(Role, NodeName),
    /// A printed line whose machine finds the cluster in a file that it fetches, as this node if one is named: usage authentication only.
    FileJoinCommand(Role, Option<NodeName>),
}

impl Purpose {
    /// The node it was made for.
    #[must_use]
    pub fn node(&self) -> Option<&NodeId> {
        match self {
            Self::Node(node) => Some(node),
            Self::JoinCommand(_) | Self::NamedJoinCommand(..) | Self::FileJoinCommand(..) => None,
        }
    }

    /// What a machine joins as with a join line of that token.
    #[must_use]
    pub fn line_role(&self) -> Option<Role> {
        match self {
            Self::Node(_) => None,
            Self::JoinCommand(role) | Self::NamedJoinCommand(role, _) | Self::FileJoinCommand(role, _) => Some(*role),
        }
    }

    /// The node that a join line of that token is for.
    #[must_use]
    pub fn line_name(&self) -> Option<&NodeName> {
        match self {
            Self::Node(_) | Self::JoinCommand(_) | Self::FileJoinCommand(_, None) => None,
            Self::NamedJoinCommand(_, name) | Self::FileJoinCommand(_, Some(name)) => Some(name),
        }
    }
}

/// Where a bootstrap token is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BootstrapTokenState {
    /// Made, not yet known to the cluster.
    Minted,
    /// A Secret of the cluster.
    Present,
    /// No longer needed; to be deleted from the cluster.
    Ending,
    /// Gone from the cluster.
    Deleted,
}

/// In what a linked cluster differs from the record of a token: a closed list of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TokenDifference {
    /// Its Secret is gone, although it has not run out and nobody has ended it here.
    Missing,
    /// A Secret of its name is there, and it is none of Muster's.
    Foreign,
    /// Its Secret is there, and `cluster-info` shows no signature of it that verifies: who discovers by it waits in vain.
    Unsigned,
    /// Its Secret is there, and `cluster-info` can't be read to see whether it is signed.
    Unreadable,
    /// Its Secret was still there after it had ended, and has been deleted now.
    LeftOver,
}

impl TokenDifference {
    /// In a sentence.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Missing => "it is gone from the cluster",
            Self::Foreign => "a Secret of its name is in the cluster that is none of Muster's",
            Self::Unsigned => "it is not signed in cluster-info: does the controller manager run bootstrapsigner?",
            Self::Unreadable => "it is not known to be signed, because the link can't read cluster-info",
            Self::LeftOver => "it was still in the cluster and has been deleted now",
        }
    }
}

/// A Kubernetes bootstrap token that Muster made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootstrapToken {
    /// Public part (6 characters).
    pub id: TokenId,
    /// The cluster it is for.
    pub cluster: ClusterId,
    /// What for.
    pub purpose: Purpose,
    /// The secret part, sealed.
    pub secret: SealedSecret,
    /// When it was made.
    pub created_ms: u64,
    /// Its lifetime from the moment it is applied.
    pub ttl_ms: u64,
    /// When it runs out.
    pub expires_ms: u64,
    /// Where it is in its life.
    pub state: BootstrapTokenState,
    /// In what its cluster was last seen to differ; of linked clusters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differs: Option<TokenDifference>,
    /// When it was noted as gone from its cluster; 0: it was not.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deleted_ms: u64,
    /// The later end that its Secret is about to get, and has once this has become `expires_ms`; 0: none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub renewal_ms: u64,
    /// Certificate requests that were judged because of it, oldest first; of join lines for one name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<JudgedRequest>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl BootstrapTokenState {
    /// It is a Secret of the cluster, or about to be.
    #[must_use]
    pub fn is_wanted(self) -> bool {
        match self {
            Self::Minted | Self::Present => true,
            Self::Ending | Self::Deleted => false,
        }
    }
}

impl BootstrapToken {
    /// Present in the cluster and not run out.
    pub fn is_live(&self, now_ms: u64) -> bool {
        self.state == BootstrapTokenState::Present && now_ms < self.expires_ms
    }
}
