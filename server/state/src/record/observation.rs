//! What is known of a Node object, and from whom.

use serde::{Deserialize, Serialize};

/// What the agent saw of its own Node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The Node exists.
    pub found: bool,
    /// Its Ready condition is True.
    pub ready: bool,
    /// Reason and message of the condition.
    pub message: String,
    /// As the Node says.
    pub kubelet_version: String,
    /// uid of the Node object.
    pub uid: String,
}

/// A Node object, as far as Muster looks at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiNode {
    /// uid of the object.
    pub uid: String,
    /// Its Ready condition is True.
    pub ready: bool,
    /// Reason and message of the condition.
    pub message: String,
    /// As the kubelet says.
    pub kubelet_version: String,
}

/// What the cluster's API said of a node, and when it was noted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Witnessed {
    /// The Node; `None`: it was there and is gone.
    pub node: Option<ApiNode>,
    /// When this was noted.
    pub at_ms: u64,
}
