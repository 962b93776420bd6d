//! How consensus is opened, and the settings that openraft gets.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};

use super::clock::{Clock, SystemClock};
use super::error::OpenError;
use super::transport::NoPeers;
use super::types::ServerId;
use crate::storage::Engine;
use crate::storage::backend::Backend;

/// Entries in one message to a peer at most; bytes are bounded by [`super::log_store::MESSAGE_BYTES_MAX`].
pub const MESSAGE_ENTRIES_MAX: u64 = 64;

/// Bytes of one chunk of a snapshot.
pub const SNAPSHOT_CHUNK_BYTES: usize = 512 * 1024;

/// How long one chunk may take to be received, and the last one to be installed.
const SNAPSHOT_CHUNK_WITHIN: Duration = Duration::from_secs(30);

/// How to open consensus.
pub struct Options<T = NoPeers> {
    /// Where everything lies; made when missing.
    pub data_dir: PathBuf,
    /// This server's number in the group.
    pub id: ServerId,
    /// The engine that keeps the log, here and so far.
    pub engine: Engine,
    /// A disk to keep the log on instead of the engine's files: a simulation's.
    pub disk: Option<Box<dyn Backend>>,
    /// Where stamps come from.
    pub clock: Arc<dyn Clock>,
    /// Entries between two snapshots, at least one. Each costs one copy of the state; all entries since the last are applied at start.
    pub snapshot_every: u64,
    /// The way to the other servers.
    pub transport: T,
    /// How long things take between servers.
    pub timings: Timings,
}

impl Options {
    /// The usual settings, for a group of one.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>, id: ServerId) -> Self {
        Self {
            data_dir: data_dir.into(),
            id,
            engine: Engine::default(),
            disk: None,
            clock: Arc::new(SystemClock),
            snapshot_every: 4096,
            transport: NoPeers,
            timings: Timings::default(),
        }
    }
}

impl<T> Options<T> {
    /// The same with a way to peers.
    #[must_use]
    pub fn with_transport<U>(self, transport: U) -> Options<U> {
        let Self { data_dir, id, engine, disk, clock, snapshot_every, transport: _, timings } = self;
        Options { data_dir, id, engine, disk, clock, snapshot_every, transport, timings }
    }
}

/// How long things take between servers. All servers of a group should have the same.
///
/// A follower stands for election when it has heard no leader for `election_max` (a lease, in which it votes for nobody either)
/// plus a time between `election_min` and `election_max` that is drawn anew each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// Between two heartbeats, and how long an answer to one may take.
    pub heartbeat: Duration,
    /// The shortest time without a leader after the lease before a follower stands.
    pub election_min: Duration,
    /// The longest, and the length of the lease.
    pub election_max: Duration,
}

impl Default for Timings {
    /// For servers in one place: a stall of half a second (a busy disk, a paused machine) costs no election.
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(300),
            election_max: Duration::from_millis(450),
        }
    }
}

impl Timings {
    /// A leader that no majority has answered for so long takes nothing more on: another may lead by then.
    pub(super) fn lost_after(self) -> Duration {
        self.election_max + self.election_min
    }
}

/// openraft's settings; its defaults are for tests on one machine.
pub(super) fn config(snapshot_every: u64, timings: Timings) -> Result<Config, OpenError> {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let config = Config {
        cluster_name: "muster".to_owned(),
        heartbeat_interval: millis(timings.heartbeat),
        election_timeout_min: millis(timings.election_min),
        election_timeout_max: millis(timings.election_max),
        install_snapshot_timeout: millis(SNAPSHOT_CHUNK_WITHIN),
        // By count here, by bytes in `LogStore::limited_get_log_entries`.
        max_payload_entries: MESSAGE_ENTRIES_MAX,
        // The elector stands.
        enable_elect: false,
        snapshot_max_chunk_size: SNAPSHOT_CHUNK_BYTES as u64,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(snapshot_every.max(1)),
        // Above the distance between snapshots, else a snapshot could not help a peer that lags.
        replication_lag_threshold: snapshot_every.saturating_mul(2).max(1),
        // The supervisor purges: what two snapshots hold, not what one does.
        max_in_snapshot_log_to_keep: u64::MAX,
        ..Config::default()
    };
    config.validate().map_err(|error| OpenError::Settings(error.to_string()))
}
