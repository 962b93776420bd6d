//! How the leader gets at the API of a cluster that was brought in.

use serde::{Deserialize, Serialize};

use super::SealedSecret;

/// What a kubeconfig gave. It stands in for the key of the cluster's authority, with which the leader certifies itself elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The kubeconfig, reduced to one server with its authority and one user with inline credentials; sealed. Its revision
    /// grows with each that takes its place.
    pub secret: SealedSecret,
    /// host:port of its server.
    pub server: String,
    /// Common name of its client certificate; empty for a token, which tells nothing of whose it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// End of its client certificate's validity, milliseconds since the Unix epoch; `None` for a token, whose end is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after_ms: Option<u64>,
}
