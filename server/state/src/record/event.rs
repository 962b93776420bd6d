//! What happened, in words with a fixed reason each.

use serde::{Deserialize, Serialize};

use crate::{ClusterId, NodeId};

/// Something that happened. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Grows by one with each event of the fleet.
    pub sequence: u64,
    /// Stamp of the command that caused it.
    pub at_ms: u64,
    /// An operator should look.
    pub warning: bool,
    /// Fixed word, e.g. `PermitGranted`.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// The cluster it concerns.
    pub cluster: Option<ClusterId>,
    /// The node it concerns.
    pub node: Option<NodeId>,
    /// The server it concerns. Nothing is written where there is none, as before there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<u64>,
}
