//! What a relay asks of a voter: the work that needs the fleet's keys, which a relay does not hold.
//!
//! Nothing secret passes through a relay in the clear. A payload leaves the voter sealed to its node's key, and only after its
//! release has committed, which the voter sees for itself.

use muster_state::record::Certificate;
use muster_state::{Bytes, Digest, NodeId, Refusal};
use muster_trust::sealing::SealedToNode;

use crate::consensus::types::ServerId;

/// Asks for the payload of a step that has been released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadAsk {
    /// The node.
    pub node: NodeId,
    /// Its attempt (0 for errands).
    pub attempt: u32,
    /// Step id.
    pub step: String,
    /// Fingerprint of the identity key that the node showed.
    pub key: Digest,
}

/// Asks for the certificate of a node's next key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewalAsk {
    /// The node.
    pub node: NodeId,
    /// Fingerprint of the identity key that the node showed.
    pub key: Digest,
    /// Generation that is being renewed.
    pub generation: u64,
    /// PKCS#10, DER, of the new key.
    pub csr: Bytes,
}

/// Why a voter did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// The state refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The request is wrong; a sentence.
    #[error("{0}")]
    Request(String),
    /// Not now; another voter, or a moment later, may do it. A sentence.
    #[error("{0}")]
    Unavailable(String),
    /// The state has moved on: there is nothing to release to that node.
    #[error("there is nothing to release to it")]
    Moved,
    /// A fault of the voter's; its log says which.
    #[error("the voter could not do this; its log says why")]
    Failed,
}

/// Does what a relay may ask for. `from` is a member of the group, as its certificate has proved.
#[async_trait::async_trait]
pub trait Voter: Send + Sync + 'static {
    /// The payload, sealed to the node. First makes sure, with a read that no earlier leader can answer, that its release to that
    /// very key has committed.
    async fn render_payload(&self, from: ServerId, ask: PayloadAsk) -> Result<SealedToNode, RelayError>;

    /// The certificate of an admitted node's first key.
    async fn issue_certificate(&self, from: ServerId, node: NodeId) -> Result<Certificate, RelayError>;

    /// Binds a node's next key; its generation and certificate.
    async fn renew_certificate(&self, from: ServerId, ask: RenewalAsk) -> Result<(u64, Certificate), RelayError>;
}
