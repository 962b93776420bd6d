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
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::Error;
use super::backend::{Backend, Batch};
use super::directory::DataDirectory;
use super::engine::Engine;
use super::error::chain;
use super::log::{Log, PurgePoint, read_value};
use super::record::{Kind, seal_value};
use super::witness::Witness;

/// Operations in one batch at most. Raft waits for its appends, so there are rarely more than a handful; the bound keeps
/// one fsync from carrying an unbounded amount of data.
const BATCH_OPERATIONS_MAX: usize = 256;

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

/// Counters of the storage thread, for metrics and tests.
#[derive(Debug, Default)]
pub struct Counters {
    /// Batches written and synchronised.
    pub syncs: AtomicU64,
    /// Operations acknowledged.
    pub operations: AtomicU64,
    /// Bytes of all payloads appended since the start.
    pub appended_bytes: AtomicU64,
    /// Bytes of all payloads now in the log.
    pub log_bytes: AtomicU64,
}

enum Operation {
    Append(Vec<Record>, Done),
    SaveVote(Vec<u8>, Done),
    NoteCommitted(Vec<u8>),
    Truncate(u64, Done),
    Purge(PurgePoint, Done),
    Read(Range<u64>, usize, oneshot::Sender<Vec<(u64, Vec<u8>)>>),
}

/// A handle on the storage thread; cheap to clone.
#[derive(Clone)]
pub struct Store {
    operations: mpsc::Sender<Operation>,
    counters: Arc<Counters>,
}

/// The thread itself; the owner joins it at the end.
#[must_use]
pub struct StoreThread(JoinHandle<()>);

impl StoreThread {
    /// Waits until all handles are gone, the queue is drained and the engine is closed. Blocks.
    pub fn join(self) {
        // The thread cannot panic without ending the process.
        let _ = self.0.join();
    }
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
        Self::run(backend, id, Some(witness))
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
        let thread = std::thread::Builder::new()
            .name("storage".to_owned())
            .spawn(move || {
                let _guard = EndProcessOnPanic;
                writer.run();
            })
            .map_err(Error::engine("start the storage thread"))?;
        Ok((Self { operations, counters }, StoreThread(thread), opened))
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
    pub async fn read(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<(u64, Vec<u8>)>, Error> {
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
fn last_batch(backend: &impl Backend) -> Result<u64, Error> {
    let found = read_value(backend, Kind::Batch)?;
    match found.as_deref().map(<[u8; 8]>::try_from) {
        None => Ok(0),
        Some(Ok(bytes)) => Ok(u64::from_be_bytes(bytes)),
        Some(Err(_)) => Err(Error::damaged("the number of the last batch", "it is no number")),
    }
}

struct Writer<B> {
    backend: B,
    log: Log,
    queue: mpsc::Receiver<Operation>,
    witness: Option<Witness>,
    /// Number of the last batch.
    batches: u64,
    counters: Arc<Counters>,
}

impl<B: Backend> Writer<B> {
    fn run(mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            if let Err(error) = self.round(first) {
                end_process("the log cannot be kept safely", &error);
            }
        }
        if let Err(error) = self.backend.close() {
            end_process("the log cannot be closed safely", &error);
        }
    }

    /// One turn: everything that waits goes to disk together. A read sees what was queued before it, so it ends the turn.
    fn round(&mut self, first: Operation) -> Result<(), Error> {
        let mut batch = Batch::default();
        let mut waiting: Vec<Done> = Vec::new();
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(operation) = next {
            if let Operation::Read(range, bytes_max, reply) = operation {
                self.settle(batch, waiting)?;
                let records = self.log.read(&self.backend, range, bytes_max)?;
                // Whoever asked may have gone.
                let _ = reply.send(records);
                return Ok(());
            }
            waiting.extend(self.plan(&mut batch, operation)?);
            taken += 1;
            next = if taken < BATCH_OPERATIONS_MAX { self.queue.try_recv().ok() } else { None };
        }
        self.settle(batch, waiting)
    }

    /// Adds what the operation writes to the batch; gives back whom to tell once it is durable.
    fn plan(&mut self, batch: &mut Batch, operation: Operation) -> Result<Option<Done>, Error> {
        match operation {
            Operation::Append(records, done) => {
                for record in records {
                    let bytes = record.payload.len() as u64;
                    self.counters.appended_bytes.fetch_add(bytes, Ordering::Relaxed);
                    self.log.append(batch, record.index, &record.payload)?;
                }
                Ok(Some(done))
            }
            Operation::SaveVote(vote, done) => {
                batch.put(Kind::Vote.key(), seal_value(Kind::Vote, &vote)?)?;
                Ok(Some(done))
            }
            Operation::NoteCommitted(committed) => {
                batch.put(Kind::Committed.key(), seal_value(Kind::Committed, &committed)?)?;
                Ok(None)
            }
            Operation::Truncate(from, done) => {
                self.log.truncate(batch, from)?;
                Ok(Some(done))
            }
            Operation::Purge(point, done) => {
                self.log.purge(batch, point)?;
                Ok(Some(done))
            }
            Operation::Read(..) => Err(Error::Rule("a read is no write".to_owned())),
        }
    }

    fn settle(&mut self, mut batch: Batch, waiting: Vec<Done>) -> Result<(), Error> {
        if !batch.is_empty() {
            self.batches += 1;
            batch.put(Kind::Batch.key(), seal_value(Kind::Batch, &self.batches.to_be_bytes())?)?;
            self.backend.write(&batch)?;
        }
        // A note of the committed position alone is not worth an fsync: nobody waits for it.
        if waiting.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        if !cfg!(feature = "planted-bug-early-ack") {
            self.backend.sync()?;
        }
        if let Some(witness) = self.witness.as_ref().filter(|_| !cfg!(feature = "planted-bug-no-witness")) {
            witness.note(self.batches)?;
        }
        metrics::histogram!("muster_storage_flush_duration_seconds").record(started.elapsed());
        self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        self.counters.operations.fetch_add(waiting.len() as u64, Ordering::Relaxed);
        self.counters.log_bytes.store(self.log.payload_bytes() as u64, Ordering::Relaxed);
        for done in waiting {
            done();
        }
        if cfg!(feature = "planted-bug-early-ack") {
            self.backend.sync()?;
        }
        Ok(())
    }
}

/// Says why and ends the process at once: nothing may be acknowledged, read or written after this.
fn end_process(what: &str, error: &Error) -> ! {
    let cause = chain(error);
    tracing::error!(cause, "{what}; the server stops");
    // The subscriber may be gone or buffered; this line must get out.
    eprintln!("muster: {what}: {cause}; the server stops");
    std::process::abort()
}

/// Turns a panic on the storage thread into the end of the process, also in builds that unwind.
struct EndProcessOnPanic;

impl Drop for EndProcessOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("muster: the storage thread panicked; the server stops");
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests;
