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
use super::parcel::Heading;
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
    /// Replies do not go through openraft: see [`super::outbox`].
    type R = ();
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
/// Who leads and who belongs to the group, as openraft tells it.
pub type ServerMetrics = openraft::metrics::RaftServerMetrics<ServerId, Peer>;
/// openraft's answer to an entry.
pub type WriteAnswer<M> = openraft::raft::ClientWriteResult<TypeConfig<M>>;
/// A storage failure as openraft wants it; it stops the core.
pub type StorageError = openraft::StorageError<ServerId>;

/// The commands of one entry, stamped. Cheap to clone.
pub struct Batch<M: Machine> {
    stamp: Stamp,
    parts: Arc<[Part<M>]>,
    json: Arc<str>,
    appended: Arc<AtomicBool>,
}

/// The commands of one parcel.
pub struct Part<M: Machine> {
    /// Which parcel; none for what was stored before there were any.
    pub heading: Option<Heading>,
    /// The commands, in the order in which they apply.
    pub commands: Arc<[M::Command]>,
}

impl<M: Machine> Batch<M> {
    /// `json` must be what [`codec::batch`] makes of the other two; only `codec` calls this.
    pub(super) fn from_parts(stamp: Stamp, parts: Arc<[Part<M>]>, json: String) -> Self {
        Self { stamp, parts, json: json.into(), appended: Arc::default() }
    }

    /// The proposer's time.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The commands by parcel, in the order in which they apply.
    #[must_use]
    pub fn parts(&self) -> &[Part<M>] {
        &self.parts
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
        Self { stamp: self.stamp, parts: self.parts.clone(), json: self.json.clone(), appended: self.appended.clone() }
    }
}

// openraft prints entries in its own log lines; a command may hold what nobody may read there.

impl<M: Machine> fmt::Debug for Batch<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commands: usize = self.parts.iter().map(|part| part.commands.len()).sum();
        write!(f, "Batch({commands} commands)")
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
