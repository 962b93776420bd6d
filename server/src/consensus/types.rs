//! openraft's type parameters, filled in.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Cursor;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use muster_state::Stamp;
use openraft::RaftTypeConfig;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::codec;
use super::machine::Machine;
use super::runtime::Runtime;

/// A server's number in the Raft group. It is never used twice: a server that lost its disk comes back under a new one.
pub type ServerId = u64;

/// Where a server of the group is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// `host:port` of its peer listener.
    pub address: String,
}

/// The group's members by number.
pub type Peers = BTreeMap<ServerId, Peer>;

/// Names the types of a Raft group over the machine `M`.
pub struct TypeConfig<M>(PhantomData<fn() -> M>);

impl<M: Machine> RaftTypeConfig for TypeConfig<M> {
    type D = Batch<M>;
    type R = Replies<M>;
    type NodeId = ServerId;
    type Node = Peer;
    type Entry = openraft::Entry<Self>;
    type SnapshotData = Cursor<Vec<u8>>;
    type AsyncRuntime = Runtime;
    type Responder = openraft::impls::OneshotResponder<Self>;
}

/// openraft over the machine `M`.
pub type Raft<M> = openraft::Raft<TypeConfig<M>>;
/// A log entry.
pub type Entry<M> = openraft::Entry<TypeConfig<M>>;
/// A position in the log: term and index.
pub type LogId = openraft::LogId<ServerId>;
/// A vote.
pub type Vote = openraft::Vote<ServerId>;
/// Who belongs to the group.
pub type Membership = openraft::Membership<ServerId, Peer>;
/// Who belongs to the group, and since which entry.
pub type StoredMembership = openraft::StoredMembership<ServerId, Peer>;
/// What openraft knows of a snapshot.
pub type SnapshotMeta = openraft::SnapshotMeta<ServerId, Peer>;
/// A snapshot with its data.
pub type Snapshot<M> = openraft::Snapshot<TypeConfig<M>>;
/// A storage failure as openraft wants it; it stops the core.
pub type StorageError = openraft::StorageError<ServerId>;

/// The commands of one entry, stamped. Cheap to clone.
pub struct Batch<M: Machine> {
    stamp: Stamp,
    commands: Arc<[M::Command]>,
    json: Arc<str>,
    appended: Arc<AtomicBool>,
}

impl<M: Machine> Batch<M> {
    /// `json` must be what [`codec::batch_json`] makes of the other two; only `codec` calls this.
    pub(super) fn from_parts(stamp: Stamp, commands: Vec<M::Command>, json: String) -> Self {
        Self { stamp, commands: commands.into(), json: json.into(), appended: Arc::default() }
    }

    /// The proposer's time.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The commands, in the order in which they apply.
    #[must_use]
    pub fn commands(&self) -> &[M::Command] {
        &self.commands
    }

    /// The frozen encoding.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Notes that the batch is in this server's log: from now on it may commit, whatever openraft says to the proposer.
    pub(super) fn note_appended(&self) {
        self.appended.store(true, Ordering::Release);
    }

    /// Tells, through any clone, whether the batch ever got into this server's log.
    pub(super) fn appended(&self) -> Arc<AtomicBool> {
        self.appended.clone()
    }
}

/// The replies to a batch's commands, in their order; none for entries of Raft's own.
pub struct Replies<M: Machine>(pub Vec<M::Reply>);

// The derives would ask the same of M itself, which is only a name here.

impl<M> Clone for TypeConfig<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for TypeConfig<M> {}

impl<M> Default for TypeConfig<M> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<M> PartialEq for TypeConfig<M> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<M> Eq for TypeConfig<M> {}

impl<M> PartialOrd for TypeConfig<M> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<M> Ord for TypeConfig<M> {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl<M> fmt::Debug for TypeConfig<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TypeConfig")
    }
}

impl<M: Machine> Clone for Batch<M> {
    fn clone(&self) -> Self {
        Self {
            stamp: self.stamp,
            commands: self.commands.clone(),
            json: self.json.clone(),
            appended: self.appended.clone(),
        }
    }
}

// openraft prints entries in its own log lines; a command may hold what nobody may read there.

impl<M: Machine> fmt::Debug for Batch<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} commands)", self.commands.len())
    }
}

impl<M: Machine> fmt::Debug for Replies<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Replies({})", self.0.len())
    }
}

// openraft asks for serde with its `serde` feature; the bytes are those of `codec`.

impl<M: Machine> Serialize for Batch<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.json)
    }
}

impl<'de, M: Machine> Deserialize<'de> for Batch<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = String::deserialize(deserializer)?;
        codec::parse_batch(&json).map_err(D::Error::custom)
    }
}

impl<M: Machine> Serialize for Replies<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, M: Machine> Deserialize<'de> for Replies<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self)
    }
}
