//! The installation itself: its roots of trust and the wrapped data keys.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Bytes, FleetId, Sealed};

/// A sealed secret with the revision that its associated data names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSecret {
    /// Revision in the associated data; 1 when first made.
    pub revision: u64,
    /// The ciphertext.
    pub sealed: Sealed,
}

/// The installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// Its id, in every SPIFFE id and in all associated data.
    pub id: FleetId,
    /// When it was founded, milliseconds since the Unix epoch.
    pub founded_ms: u64,
    /// DER of the root certificate; its SPKI hash is the pin that machines know.
    pub root: Bytes,
    /// DER of the intermediates by role: `server`, `node`, `operator`.
    pub intermediates: BTreeMap<String, Bytes>,
    /// Private keys of root and intermediates, sealed: `root`, `server`, `node`, `operator`.
    pub keys: BTreeMap<String, SealedSecret>,
    /// Data keys by epoch, each wrapped for each voter (by Raft id) under that voter's seal key.
    pub epochs: BTreeMap<u32, BTreeMap<u64, Bytes>>,
    /// The epoch under which new secrets are sealed.
    pub epoch: u32,
}
