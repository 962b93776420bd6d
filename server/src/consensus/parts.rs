//! What runs beside openraft: the tasks, the queues into them, and the order in which all of it ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use super::batcher;
use super::clock::Clock;
use super::courier::Courier;
use super::elector::Elector;
use super::error::ProposeError;
use super::leadership::Leadership;
use super::legacy::Legacy;
use super::machine::Machine;
use super::options::Timings;
use super::outbox::{Outbox, Waiting};
use super::proposer::{ARRIVED_MAX, Arrived, Proposer};
use super::reads::{READS_MAX, Reads};
use super::signs::Signs;
use super::state_machine::Shared;
use super::supervisor::Supervisor;
use super::types::Raft;
use crate::process::{self, Simulated};
use crate::storage::directory::DataDirectory;
use crate::storage::durable::{Counters, StoreThread};
use crate::storage::snapshots::Snapshots;

/// How long each part may take to stop before the others go on without it.
pub(super) const STOP_WAIT_MAX: Duration = Duration::from_secs(10);

/// The ways into the tasks, until they are closed.
pub(super) struct Queues<M: Machine> {
    proposals: RwLock<Option<mpsc::Sender<Waiting<M>>>>,
    reads: mpsc::Sender<oneshot::Sender<()>>,
}

impl<M: Machine> Queues<M> {
    /// Hands a command to the proposer.
    pub(super) fn propose(&self, waiting: Waiting<M>) -> Result<(), ProposeError> {
        let proposals = self.proposals.read().unwrap_or_else(PoisonError::into_inner);
        let proposals = proposals.as_ref().ok_or(ProposeError::Unavailable)?;
        // There is as much room in the queue as there are units, so it is never full.
        proposals.try_send(waiting).map_err(|_| ProposeError::Unavailable)
    }

    /// Waits for the next round of reads; nothing if this server stops.
    pub(super) async fn catch_up(&self) -> Option<()> {
        let (reader, caught_up) = oneshot::channel();
        self.reads.send(reader).await.ok()?;
        caught_up.await.ok()
    }

    /// Takes no more commands.
    pub(super) fn close(&self) {
        self.proposals.write().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// What is on the disk, and who owns it.
pub(super) struct Disk {
    pub(super) storage: StoreThread,
    pub(super) directory: DataDirectory,
}

/// What must end in this order.
pub(super) struct Parts {
    proposer: JoinHandle<()>,
    helpers: Vec<(&'static str, JoinHandle<()>)>,
    disk: Disk,
    /// Tells the proposer to end.
    closing: CancellationToken,
    /// Set before openraft is told to stop.
    stopping: Arc<AtomicBool>,
}

impl Parts {
    /// Waits until everything that was proposed is answered. Close the queues before.
    pub(super) async fn answer_what_waits(&mut self) {
        self.closing.cancel();
        ended("the proposer", &mut self.proposer).await;
    }

    /// Stops openraft and what surrounds it. The directory is free for another owner only when nothing writes to it any more.
    pub(super) async fn stop<M: Machine>(self, raft: Raft<M>) {
        let Self { proposer, helpers, disk, closing: _, stopping } = self;
        stopping.store(true, Ordering::Release);
        proposer.abort();
        if let Err(error) = raft.shutdown().await {
            tracing::warn!(%error, "consensus did not stop in order");
        }
        for (what, task) in helpers {
            ended(what, task).await;
        }
        let closed = process::blocking(move || {
            disk.storage.join();
            drop(disk.directory);
        });
        ended("storage", process::spawn(closed)).await;
    }
}

/// The parts while they run. Without a shutdown everything ends all the same when this is dropped, only less politely:
/// openraft's tasks would outlive their handles.
pub(super) struct Running<M: Machine> {
    parts: Mutex<Option<Parts>>,
    raft: Raft<M>,
    runtime: Handle,
    process: Option<Arc<dyn Simulated>>,
}

impl<M: Machine> Running<M> {
    /// The parts, for who stops them; only once.
    pub(super) fn take(&self) -> Option<Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<M: Machine> Drop for Running<M> {
    fn drop(&mut self) {
        if let Some(parts) = self.take() {
            let _entered = self.runtime.enter();
            match &self.process {
                Some(process) => process::spawn_in(process.clone(), parts.stop(self.raft.clone())),
                None => tokio::spawn(parts.stop(self.raft.clone())),
            };
        }
    }
}

/// What all tasks share.
pub(super) struct Tasks<'a, M: Machine> {
    pub(super) raft: &'a Raft<M>,
    pub(super) shared: &'a Arc<Shared<M>>,
    pub(super) outbox: &'a Arc<Outbox<M>>,
    pub(super) courier: &'a Arc<dyn Courier<M>>,
    pub(super) signs: &'a Signs,
    pub(super) legacy: Legacy,
}

/// The ways into the tasks, what they tell, and the tasks.
pub(super) struct Started<M: Machine> {
    pub(super) queues: Queues<M>,
    pub(super) arrivals: mpsc::Sender<Arrived<M>>,
    pub(super) leadership: watch::Receiver<Option<u64>>,
    /// Set while leadership is being handed over.
    pub(super) resting: watch::Sender<bool>,
    pub(super) running: Running<M>,
}

impl<M: Machine> Tasks<'_, M> {
    /// Starts them.
    pub(super) fn start(
        &self,
        clock: Arc<dyn Clock>,
        timings: Timings,
        counters: Arc<Counters>,
        snapshots: Snapshots,
        disk: Disk,
    ) -> Started<M> {
        let (proposals, local) = mpsc::channel(batcher::ROOM_BYTES / batcher::ROOM_UNIT_BYTES);
        let (arrivals, arrived) = mpsc::channel(ARRIVED_MAX);
        let (readers, queue) = mpsc::channel(READS_MAX);
        let (term, leadership) = watch::channel(None);
        let (resting, rests) = watch::channel(false);
        let closing = CancellationToken::new();
        let stopping = Arc::new(AtomicBool::new(false));
        let proposer = Proposer {
            raft: self.raft.clone(),
            shared: self.shared.clone(),
            outbox: self.outbox.clone(),
            courier: self.courier.clone(),
            clock,
            leadership: leadership.clone(),
            resting: rests,
            local,
            arrived,
            closing: closing.clone(),
        };
        let (applied, legacy) = (self.shared.applied(), self.legacy);
        let reads = Reads { raft: self.raft.clone(), courier: self.courier.clone(), applied, queue, legacy };
        let (applied, lost_after) = (self.shared.applied(), timings.lost_after());
        let watching = Leadership { raft: self.raft.clone(), applied, term, legacy, lost_after };
        let elector = Elector { raft: self.raft.clone(), signs: self.signs.clone(), timings };
        let supervisor = Supervisor { raft: self.raft.clone(), counters, snapshots, stopping: stopping.clone() };
        // It ends with its queue, or with openraft.
        process::spawn(reads.run());
        let parts = Parts {
            proposer: process::spawn(proposer.run()),
            helpers: vec![
                ("the watch on leadership", process::spawn(watching.run())),
                ("the elector", process::spawn(elector.run())),
                ("the supervisor", process::spawn(supervisor.run())),
            ],
            disk,
            closing,
            stopping,
        };
        let queues = Queues { proposals: RwLock::new(Some(proposals)), reads: readers };
        let running = Running {
            parts: Mutex::new(Some(parts)),
            raft: self.raft.clone(),
            runtime: Handle::current(),
            process: process::simulated(),
        };
        Started { queues, arrivals, leadership, resting, running }
    }
}

/// Waits for a task to end, but not for ever.
async fn ended(what: &str, task: impl Future<Output = Result<(), JoinError>>) {
    match tokio::time::timeout(STOP_WAIT_MAX, task).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "{what} ended badly"),
        Err(_) => tracing::warn!("{what} did not end in time"),
    }
}
