//! The durability layer: one thread that writes, synchronises, and only then acknowledges.
//!
//! ```text
//! queue ──> drain (≤ 256) ──> one batch ──> write ──> sync ──> acknowledgements, in queue order
//! ```
//!
//! Vote and log share the queue and the batch, so their order on disk is the order in which they were asked for: Raft loses
//! committed data when a vote overtakes an append. An error or a panic in here ends the process, once and for good.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{mpsc, oneshot};

pub use super::thread::StoreThread;

use super::Error;
use super::backend::{Backend, Batch};
pub use super::counters::Counters;
use super::directory::DataDirectory;
use super::engine::Engine;
use super::log::{Log, PurgePoint, read_value};
use super::record::{Kind, seal_value};
use super::rewrite;
use super::witness::Witness;
use crate::process;

mod writer;

use writer::Writer;

/// Operations that may wait. Senders beyond it wait in line themselves.
const QUEUE_OPERATIONS_MAX: usize = 256;

/// Called once what it belongs to is on disk, on the storage thread: it must be short and must not block.
pub type Done = Box<dyn FnOnce() + Send>;

/// One record to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its position: one after the last.
    pub index: u64,
    /// What it carries, at most [`super::record::PAYLOAD_BYTES_MAX`].
    pub payload: Vec<u8>,
}

/// Records by index.
type Records = Vec<(u64, Vec<u8>)>;

/// What was found when the store was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// The last saved vote.
    pub vote: Option<Vec<u8>>,
    /// A committed position; the true one may be further on.
    pub committed: Option<Vec<u8>>,
    /// The last purged record.
    pub purged: Option<PurgePoint>,
    /// The indices present.
    pub present: Range<u64>,
}

enum Operation {
    Append(Vec<Record>, Done),
    SaveVote(Vec<u8>, Done),
    NoteCommitted(Vec<u8>),
    Truncate(u64, Done),
    Purge(PurgePoint, Done),
    Read(Range<u64>, usize, oneshot::Sender<Records>),
}

/// A handle on the storage thread; cheap to clone.
#[derive(Clone)]
pub struct Store {
    operations: mpsc::Sender<Operation>,
    counters: Arc<Counters>,
}

impl Store {
    /// Opens the log of server `id` in a data directory that this process owns, creating it when there is none, and starts
    /// the thread.
    ///
    /// # Errors
    /// [`Error::OtherEngine`], [`Error::Damaged`], [`Error::OtherServer`], [`Error::Format`], [`Error::Io`].
    pub fn open(directory: &DataDirectory, id: u64, engine: Engine) -> Result<(Self, StoreThread, Opened), Error> {
        let path = directory.live_log(engine, |path| create_log(engine, path, id))?;
        let backend = engine.open(&path)?;
        let witness = Witness::open(directory.witness(), last_batch(&backend)?)?;
        let backend = rewrite::compacted(directory, engine, &path, backend)?;
        Self::run(backend, id, Some(witness))
    }

    /// The same on a disk that lies elsewhere: a simulation's. One that is empty is prepared.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on(
        mut disk: Box<dyn Backend>,
        directory: &DataDirectory,
        id: u64,
    ) -> Result<(Self, StoreThread, Opened), Error> {
        if read_value(&disk, Kind::Identity)?.is_none() {
            prepare(&mut disk, id)?;
        }
        let witness = Witness::open(directory.witness(), last_batch(&disk)?)?;
        Self::run(disk, id, Some(witness))
    }

    /// Starts the thread over a backend that was prepared with [`prepare`], without a witness.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::OtherServer`], [`Error::Format`], and those of the backend.
    pub fn start(backend: impl Backend, id: u64) -> Result<(Self, StoreThread, Opened), Error> {
        Self::run(backend, id, None)
    }

    fn run(backend: impl Backend, id: u64, witness: Option<Witness>) -> Result<(Self, StoreThread, Opened), Error> {
        verify_identity(&backend, id)?;
        let (log, values) = Log::open(&backend)?;
        let opened = Opened {
            vote: values.vote,
            committed: values.committed,
            purged: log.purged().cloned(),
            present: log.range(),
        };
        let (operations, queue) = mpsc::channel(QUEUE_OPERATIONS_MAX);
        let counters = Arc::new(Counters::default());
        counters.log_bytes.store(log.payload_bytes() as u64, Ordering::Relaxed);
        let batches = last_batch(&backend)?;
        let writer = Writer { backend, log, queue, witness, batches, counters: counters.clone() };
        let thread = match process::simulated() {
            Some(_) => StoreThread::simulate(writer.simulate()),
            None => StoreThread::start(move || writer.run())?,
        };
        Ok((Self { operations, counters }, thread, opened))
    }

    /// Queues records for the end of the log; `done` is called when they are on disk.
    ///
    /// # Errors
    /// [`Error::TooLarge`] before anything was queued, [`Error::Closed`].
    pub async fn append(&self, records: Vec<Record>, done: Done) -> Result<(), Error> {
        let limit = super::record::PAYLOAD_BYTES_MAX;
        if let Some(record) = records.iter().find(|record| record.payload.len() > limit) {
            return Err(Error::TooLarge { what: "a log record", bytes: record.payload.len(), limit });
        }
        self.send(Operation::Append(records, done)).await
    }

    /// Saves the vote; returns when it is on disk.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn save_vote(&self, vote: Vec<u8>) -> Result<(), Error> {
        self.durably(|done| Operation::SaveVote(vote, done)).await
    }

    /// Notes how far the log is committed. It goes to disk with the next batch, for it may be late but never early.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn note_committed(&self, committed: Vec<u8>) -> Result<(), Error> {
        self.send(Operation::NoteCommitted(committed)).await
    }

    /// Removes all records from `from` on; returns when they are gone from disk.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn truncate(&self, from: u64) -> Result<(), Error> {
        self.durably(|done| Operation::Truncate(from, done)).await
    }

    /// Removes all records up to and with the point's; returns when they are gone from disk.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn purge(&self, point: PurgePoint) -> Result<(), Error> {
        self.durably(|done| Operation::Purge(point, done)).await
    }

    /// The records of `range` that are present, at least one if any is, else as many as fit `bytes_max`. Sees everything that
    /// was queued before.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn read(&self, range: Range<u64>, bytes_max: usize) -> Result<Records, Error> {
        let (reply, records) = oneshot::channel();
        self.send(Operation::Read(range, bytes_max, reply)).await?;
        records.await.map_err(|_| Error::Closed)
    }

    /// What the thread has done so far.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    async fn durably(&self, operation: impl FnOnce(Done) -> Operation) -> Result<(), Error> {
        let (sender, done) = oneshot::channel();
        let acknowledge = Box::new(move || {
            // Whoever asked may have gone; the write stands all the same.
            let _ = sender.send(());
        });
        self.send(operation(acknowledge)).await?;
        done.await.map_err(|_| Error::Closed)
    }

    async fn send(&self, operation: Operation) -> Result<(), Error> {
        self.operations.send(operation).await.map_err(|_| Error::Closed)
    }
}

fn create_log(engine: Engine, path: &Path, id: u64) -> Result<(), Error> {
    let mut backend = engine.open(path)?;
    prepare(&mut backend, id)?;
    backend.close()
}

/// Writes into an empty backend whose log it is.
///
/// # Errors
/// Those of the backend.
pub fn prepare(backend: &mut impl Backend, id: u64) -> Result<(), Error> {
    let mut batch = Batch::default();
    batch.put(Kind::Identity.key(), seal_value(Kind::Identity, &id.to_be_bytes())?)?;
    backend.write(&batch)?;
    backend.sync()
}

fn verify_identity(backend: &impl Backend, id: u64) -> Result<(), Error> {
    let found = read_value(backend, Kind::Identity)?;
    match found.as_deref().map(<[u8; 8]>::try_from) {
        Some(Ok(bytes)) if u64::from_be_bytes(bytes) == id => Ok(()),
        Some(Ok(bytes)) => Err(Error::OtherServer { expected: id, found: u64::from_be_bytes(bytes) }),
        _ => Err(Error::damaged("the log's identity", "it is missing")),
    }
}

/// The number of the last batch in the backend; zero before the first.
pub(super) fn last_batch(backend: &impl Backend) -> Result<u64, Error> {
    let found = read_value(backend, Kind::Batch)?;
    match found.as_deref().map(<[u8; 8]>::try_from) {
        None => Ok(0),
        Some(Ok(bytes)) => Ok(u64::from_be_bytes(bytes)),
        Some(Err(_)) => Err(Error::damaged("the number of the last batch", "it is no number")),
    }
}

#[cfg(test)]
mod tests;
