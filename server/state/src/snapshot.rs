//! Snapshot version 1: canonical JSON of the state behind a version. Frozen: a change of form is a new version
//! with a conversion from this one.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    State,
    planted::{Bug, is_planted},
};

const VERSION: u32 = 1;

#[derive(Serialize)]
struct Out<'a> {
    version: u32,
    state: &'a State,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct In {
    #[serde(rename = "version")]
    _version: u32,
    state: State,
}

/// A snapshot that can't be used.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// Made by a newer Muster.
    #[error("snapshot version {0} is not known to this binary (it knows 1); start a newer one")]
    Version(u32),
    /// Damaged, or not a snapshot.
    #[error("snapshot can't be read: {0}")]
    Damaged(String),
}

impl State {
    /// The whole state as bytes. Equal states give equal bytes.
    pub fn to_snapshot(&self) -> Result<Vec<u8>, SnapshotError> {
        serde_json::to_vec(&Out { version: VERSION, state: self })
            .map_err(|err| SnapshotError::Damaged(err.to_string()))
    }

    /// The state that a snapshot holds.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let damaged = |err: serde_json::Error| SnapshotError::Damaged(err.to_string());
        let Version { version } = serde_json::from_slice(bytes).map_err(damaged)?;
        if version != VERSION {
            return Err(SnapshotError::Version(version));
        }
        let In { mut state, .. } = serde_json::from_slice(bytes).map_err(damaged)?;
        if is_planted(Bug::RepliesNotInSnapshot) {
            state.replies.clear();
        }
        state.reindex();
        Ok(state)
    }
}
