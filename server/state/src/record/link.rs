//! A cluster's own API as the leader's link to it sees it.

use serde::{Deserialize, Serialize};

use crate::{Digest, TokenId};

/// The leader speaks to the cluster's API itself. A cluster without this is detached: a custodian acts for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Who approves the certificate requests of joining nodes.
    pub csr_approval: CsrApproval,
}

/// Who approves the certificate requests of joining nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CsrApproval {
    /// Muster, each by what the state knows of the machine.
    Muster,
    /// The same, and not before nobody else can have made one: see [`Hold`].
    Strict,
    /// The cluster itself, for any name that a token's holder asks for.
    Auto,
}

impl CsrApproval {
    /// The leader approves; it needs the same rights in the cluster whether it is strict or not.
    #[must_use]
    pub fn is_musters(self) -> bool {
        match self {
            Self::Muster | Self::Strict => true,
            Self::Auto => false,
        }
    }

    /// The word for it, in cluster files and comparisons.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Muster => "muster",
            Self::Strict => "strict",
            Self::Auto => "auto",
        }
    }
}

/// How the link is: a closed list of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LinkCondition {
    /// The API server answers, and lets the leader do what it has to.
    Connected,
    /// No address answers, or not in time.
    Unreachable,
    /// What answers can't show a certificate of the cluster's authority.
    Untrusted,
    /// The API server does not know who calls (401).
    Unauthorized,
    /// The API server does not let the leader do something (403).
    Forbidden,
    /// The API server asks for patience (429).
    Throttled,
    /// It answers with errors of its own, or with what can't be read.
    Failing,
    /// The key of the cluster's authority is not here: the leader can't certify itself.
    NoKey,
}

/// What was last known of the link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkStatus {
    /// In a word.
    pub condition: LinkCondition,
    /// In a sentence.
    pub message: String,
    /// Since when the word holds.
    pub since_ms: u64,
    /// Whether everybody may read `kube-public/cluster-info`; `None` while that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_info_public: Option<bool>,
}

/// What became of a node's certificate request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgedRequest {
    /// uid of the request's object.
    pub uid: String,
    /// Name of the object.
    pub name: String,
    /// SHA-256 of the PKCS#10.
    pub digest: Digest,
    /// The bootstrap token it came with; `None` for the certificate of a kubelet's server.
    pub token: Option<TokenId>,
    /// It was approved; otherwise denied, or still held.
    pub approved: bool,
    /// When it was judged last.
    pub at_ms: u64,
    /// How far it is on its way through the strict mode.
    #[serde(default, skip_serializing_if = "Hold::is_never")]
    pub hold: Hold,
}

/// How far a request is on its way through the strict mode: it is held until it is sure that its token is in no other hands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hold {
    /// It is not held, and never was, or it was denied.
    #[default]
    Never,
    /// It came before its machine has said that its kubelet starts. The token stays, so that the machine's own request, if this is
    /// none of it, comes too.
    Early,
    /// The kubelet has some seconds more, to come if it has not, and to open its watch if it has.
    Settling,
    /// The token is ended for it. It waits until no API server lets anybody in with that any more.
    Ending,
    /// It was the only one, and approved.
    Passed,
}

impl Hold {
    /// It is neither approved nor denied yet.
    #[must_use]
    pub fn is_on(self) -> bool {
        match self {
            Self::Early | Self::Settling | Self::Ending => true,
            Self::Never | Self::Passed => false,
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
    fn is_never(&self) -> bool {
        *self == Self::Never
    }
}
