//! What runs on the storage thread: one turn after the other, each a batch, a sync, and then the acknowledgements.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use muster_state::planted::{Bug, is_planted};
use tokio::sync::{mpsc, oneshot};

use super::{Counters, Done, Operation, Records};
use crate::process;
use crate::storage::Error;
use crate::storage::backend::{Backend, Batch};
use crate::storage::log::Log;
use crate::storage::record::{Kind, seal_value};
use crate::storage::thread::end;
use crate::storage::witness::Witness;

/// Operations in one batch at most. Raft waits for its appends, so there are rarely more than a handful; the bound keeps
/// one fsync from carrying an unbounded amount of data.
const BATCH_OPERATIONS_MAX: usize = 256;

/// What is written and neither durable nor answered yet.
#[derive(Default)]
struct Turn {
    waiting: Vec<Done>,
    read: Option<(Range<u64>, usize, oneshot::Sender<Records>)>,
}

/// What the thread owns.
pub(super) struct Writer<B> {
    pub(super) backend: B,
    pub(super) log: Log,
    pub(super) queue: mpsc::Receiver<Operation>,
    pub(super) witness: Option<Witness>,
    /// Number of the last batch.
    pub(super) batches: u64,
    pub(super) counters: Arc<Counters>,
}

impl<B: Backend> Writer<B> {
    /// Runs until all handles are gone.
    pub(super) fn run(mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            let mut turn = Turn::default();
            if let Err(error) = self.begin(first, &mut turn).and_then(|()| self.finish(&mut turn)) {
                // Before those who wait are dropped, which others would take for the cause.
                end("the log", &error);
            }
        }
        if let Err(error) = self.backend.close() {
            end("the log", &error);
        }
    }

    /// The same in a simulation: on virtual time, which the disk takes some of between writing and synchronising.
    pub(super) async fn simulate(mut self) {
        while let Some(first) = self.queue.recv().await {
            let mut turn = Turn::default();
            self.begin(first, &mut turn).unwrap_or_else(|error| end("the log", &error));
            if let Some(process) = process::simulated().filter(|_| !turn.waiting.is_empty()) {
                tokio::time::sleep(process.disk_pause()).await;
            }
            self.finish(&mut turn).unwrap_or_else(|error| end("the log", &error));
        }
        self.backend.close().unwrap_or_else(|error| end("the log", &error));
    }

    /// Takes everything that waits and writes it. A read sees what was queued before it, so it ends the turn.
    fn begin(&mut self, first: Operation, turn: &mut Turn) -> Result<(), Error> {
        let mut batch = Batch::default();
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(operation) = next {
            if let Operation::Read(range, bytes_max, reply) = operation {
                turn.read = Some((range, bytes_max, reply));
                break;
            }
            turn.waiting.extend(self.plan(&mut batch, operation)?);
            taken += 1;
            next = if taken < BATCH_OPERATIONS_MAX { self.queue.try_recv().ok() } else { None };
        }
        if !batch.is_empty() {
            self.batches += 1;
            batch.put(Kind::Batch.key(), seal_value(Kind::Batch, &self.batches.to_be_bytes())?)?;
            self.backend.write(&batch)?;
        }
        if is_planted(Bug::EarlyAck) {
            std::mem::replace(&mut turn.waiting, vec![Box::new(|| ())]).into_iter().for_each(|done| done());
        }
        Ok(())
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

    /// Makes durable what the turn has written, acknowledges it, and answers its read.
    fn finish(&mut self, turn: &mut Turn) -> Result<(), Error> {
        self.acknowledge(&mut turn.waiting)?;
        if let Some((range, bytes_max, reply)) = turn.read.take() {
            let records = self.log.read(&self.backend, range, bytes_max)?;
            // Whoever asked may have gone.
            let _ = reply.send(records);
        }
        Ok(())
    }

    fn acknowledge(&mut self, waiting: &mut Vec<Done>) -> Result<(), Error> {
        // A note of the committed position alone is not worth an fsync: nobody waits for it.
        if waiting.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        if !cfg!(feature = "planted-bug-early-ack") {
            self.backend.sync().or_else(|error| self.sync_again(error))?;
        }
        if let Some(witness) = self.witness.as_ref().filter(|_| !cfg!(feature = "planted-bug-no-witness")) {
            witness.note(self.batches)?;
        }
        metrics::histogram!("muster_storage_flush_duration_seconds").record(started.elapsed());
        self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        self.counters.operations.fetch_add(waiting.len() as u64, Ordering::Relaxed);
        self.counters.log_bytes.store(self.log.payload_bytes() as u64, Ordering::Relaxed);
        for done in waiting.drain(..) {
            done();
        }
        if cfg!(feature = "planted-bug-early-ack") {
            self.backend.sync()?;
        }
        Ok(())
    }

    /// Never: a second fsync that succeeds proves nothing. It is here to be planted.
    fn sync_again(&mut self, error: Error) -> Result<(), Error> {
        if cfg!(feature = "planted-bug-fsync-retried") { self.backend.sync() } else { Err(error) }
    }
}
