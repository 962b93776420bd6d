//! Certificate requests of a detached cluster, as a custodian sees them and is to answer them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Digest, NodeName, csr::CsrClaim};

/// A pending certificate request that a custodian has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenRequest {
    /// uid of its object.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// `metadata.resourceVersion` of what was seen: it is answered at this version or not at all.
    pub version: String,
    /// SHA-256 of the PKCS#10.
    pub digest: Digest,
    /// What it says.
    pub claim: CsrClaim,
}

/// All that a custodian saw in one look.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestsSeen {
    /// Pending requests that it was not told to pass over, at most [`crate::limits::REQUESTS_SEEN_MAX`].
    pub requests: Vec<SeenRequest>,
    /// Those to be passed over that still are pending, by uid.
    pub passed_over: BTreeSet<String>,
    /// The Nodes it was asked about, and whether each is there and Ready.
    pub nodes: BTreeMap<NodeName, bool>,
    /// There are more than could be told.
    pub more: bool,
}

/// What a custodian is to say to the cluster of a request: decided in the log before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// uid of the request's object.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// The version that was looked at.
    pub version: String,
    /// Approve it; otherwise deny it.
    pub approve: bool,
    /// Why, in a sentence.
    pub why: String,
}

/// What is known of a detached cluster's pending certificate requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Custody {
    /// Decided, and not yet said to the cluster.
    pub verdicts: Vec<Verdict>,
    /// Pending, and nothing for Muster to decide: a person's, or nobody's business here. By uid.
    pub passed_over: BTreeSet<String>,
    /// When a custodian looked last.
    pub looked_ms: u64,
    /// It saw more than it could tell, and what it told was news: it looks again soon.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// Nodes that have to be looked at before requests that are pending can be decided upon: it looks again at once.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub nodes: BTreeSet<NodeName>,
}

/// How many events there were about certificate requests, of those that are bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestsTold {
    /// Since when.
    pub since_ms: u64,
    /// How many.
    pub count: u32,
}
