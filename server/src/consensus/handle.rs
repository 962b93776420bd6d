//! The front door of consensus: open, propose, read, watch, stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use openraft::ServerState;
use openraft::error::{Fatal, InitializeError, RaftError};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};

use super::batcher::{self, Batcher, Waiting};
use super::changes::Changes;
use super::codec::Rendered;
use super::contacts::Contacts;
use super::courier::Courier;
use super::error::{OpenError, ProposeError, ReadError};
use super::log_store::LogStore;
use super::machine::Machine;
use super::network::Links;
use super::options::{self, Options, Timings};
use super::peer::{self, PeerHandle};
use super::state_machine::{Shared, StateMachine};
use super::status::Status;
use super::supervisor::Supervisor;
use super::transport::Transport;
use super::types::{Peer, Peers, Raft, ServerId};
use crate::process::{self, Simulated};
use crate::storage::Store;
use crate::storage::directory::DataDirectory;
use crate::storage::durable::{Counters, StoreThread};
use crate::storage::snapshots::Snapshots;

/// How long each part may take to stop before the others go on without it.
const STOP_WAIT_MAX: Duration = Duration::from_secs(10);

/// Between two attempts to have leadership confirmed: about a heartbeat.
const CONFIRM_PAUSE: Duration = Duration::from_millis(100);

/// A handle on this server's consensus; cheap to clone.
pub struct Consensus<M: Machine> {
    inner: Arc<Inner<M>>,
}

impl<M: Machine> Clone for Consensus<M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

struct Inner<M: Machine> {
    id: ServerId,
    raft: Raft<M>,
    peer: PeerHandle<M>,
    courier: Arc<dyn Courier<M>>,
    timings: Timings,
    shared: Arc<Shared<M>>,
    counters: Arc<Counters>,
    contacts: Contacts,
    room: Arc<Semaphore>,
    stopping: Arc<AtomicBool>,
    /// Taken at shutdown, which closes the queue.
    proposals: RwLock<Option<mpsc::Sender<Waiting<M>>>>,
    parts: Mutex<Option<Parts>>,
    runtime: Handle,
    process: Option<Arc<dyn Simulated>>,
}

/// What must end in this order.
struct Parts {
    batcher: JoinHandle<()>,
    supervisor: JoinHandle<()>,
    storage: StoreThread,
    directory: DataDirectory,
}

impl Parts {
    /// Stops openraft and what surrounds it. The directory is free for another owner only when nothing writes to it any more.
    async fn stop<M: Machine>(self, raft: Raft<M>) {
        if let Err(error) = raft.shutdown().await {
            tracing::warn!(%error, "consensus did not stop in order");
        }
        ended("the supervisor", self.supervisor).await;
        let Self { storage, directory, .. } = self;
        let closed = process::blocking(move || {
            storage.join();
            drop(directory);
        });
        ended("storage", process::spawn(closed)).await;
    }
}

impl<M: Machine> Inner<M> {
    fn take_parts(&self) -> Option<Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn close_queue(&self) {
        self.proposals.write().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Without a shutdown everything ends all the same, only less politely: openraft's tasks would outlive their handles.
impl<M: Machine> Drop for Inner<M> {
    fn drop(&mut self) {
        if let Some(parts) = self.take_parts() {
            self.stopping.store(true, Ordering::Release);
            self.close_queue();
            parts.batcher.abort();
            let _entered = self.runtime.enter();
            match &self.process {
                Some(process) => process::spawn_in(process.clone(), parts.stop(self.raft.clone())),
                None => tokio::spawn(parts.stop(self.raft.clone())),
            };
        }
    }
}

impl<M: Machine> Consensus<M> {
    /// Opens the data directory, rebuilds the state from snapshot and log, and starts Raft. A fresh server waits to be told of
    /// its group: see [`Consensus::initialize`].
    ///
    /// # Errors
    /// [`OpenError`]; the server must not serve then.
    pub async fn open<T: Transport<M>>(options: Options<T>) -> Result<Self, OpenError> {
        let Options { data_dir, id, engine, disk, clock, snapshot_every, transport, timings } = options;
        let directory = DataDirectory::open(&data_dir)?;
        let (store, storage, opened) = match disk {
            Some(disk) => Store::open_on(disk, &directory, id)?,
            None => Store::open(&directory, id, engine)?,
        };
        let counters = store.counters();
        let log = LogStore::<M>::open(store, &opened).await?;
        let snapshots = Snapshots::open(directory.snapshots()?)?;
        let machine = StateMachine::open(snapshots.clone(), log.purged())?;
        let shared = machine.shared();
        let config = Arc::new(options::config(snapshot_every, timings)?);
        let contacts = Contacts::default();
        let links = Links::new(id, transport.clone(), contacts.clone());
        let raft = Raft::<M>::new(id, config, links, log, machine).await.map_err(core)?;
        elect_if_alone(&raft, id).await?;
        let (proposals, queue) = mpsc::channel(batcher::ROOM_BYTES / batcher::ROOM_UNIT_BYTES);
        let stopping = Arc::new(AtomicBool::new(false));
        let batcher = Batcher { raft: raft.clone(), shared: shared.clone(), clock, queue };
        let supervisor =
            Supervisor { raft: raft.clone(), counters: counters.clone(), snapshots, stopping: stopping.clone() };
        let parts = Parts {
            batcher: process::spawn(batcher.run()),
            supervisor: process::spawn(supervisor.run()),
            storage,
            directory,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                id,
                peer: PeerHandle::new(raft.clone()),
                raft,
                courier: Arc::new(transport),
                timings,
                shared,
                counters,
                contacts,
                room: Arc::new(Semaphore::new(batcher::ROOM_BYTES / batcher::ROOM_UNIT_BYTES)),
                stopping,
                proposals: RwLock::new(Some(proposals)),
                parts: Mutex::new(Some(parts)),
                runtime: Handle::current(),
                process: process::simulated(),
            }),
        })
    }

    /// Founds a group of this one server. Does nothing, and says so with `false`, if it already belongs to one.
    ///
    /// # Errors
    /// [`OpenError::Core`].
    pub async fn initialize(&self, peer: Peer) -> Result<bool, OpenError> {
        // Asked first: openraft logs an attempt on a group that exists as an error, at every restart.
        if self.inner.raft.is_initialized().await.map_err(core)? {
            return Ok(false);
        }
        let founders = Peers::from([(self.inner.id, peer)]);
        match self.inner.raft.initialize(founders).await {
            Ok(()) => Ok(true),
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(false),
            Err(RaftError::APIError(error)) => Err(OpenError::Settings(error.to_string())),
            Err(RaftError::Fatal(fatal)) => Err(core(fatal)),
        }
    }

    /// Waits until the group has a leader and the state here holds all that was in the log when it was opened. Serve nothing
    /// before: until then the state may lie in the past.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn wait_ready(&self, within: Duration) -> Result<(), ReadError> {
        let mut metrics = self.inner.raft.metrics();
        let ready = metrics.wait_for(|now| {
            let applied = now.last_applied.map(|id| id.index);
            let caught_up = now.state != ServerState::Leader || applied >= now.last_log_index;
            now.running_state.is_err() || (now.current_leader.is_some() && applied.is_some() && caught_up)
        });
        match tokio::time::timeout(within, ready).await {
            Err(_) => Err(ReadError::TimedOut),
            Ok(Ok(now)) if now.running_state.is_ok() => Ok(()),
            Ok(_) => Err(ReadError::Unavailable),
        }
    }

    /// Proposes one command and waits for its reply, at most for `within`.
    ///
    /// # Errors
    /// [`ProposeError`]; [`ProposeError::may_retry`] says which leave no doubt that nothing happened.
    pub async fn propose(&self, command: M::Command, within: Duration) -> Result<M::Reply, ProposeError> {
        let limit = batcher::COMMAND_BYTES_MAX;
        let command = Rendered::new(command).map_err(|_| ProposeError::Malformed)?;
        let bytes = command.bytes();
        if bytes > limit {
            return Err(ProposeError::TooLarge { bytes, limit });
        }
        if let Some(leader) = self.other_leader() {
            return Err(ProposeError::NotLeader { leader });
        }
        let room = self.inner.room.clone().try_acquire_many_owned(batcher::room_units(bytes));
        let room = room.map_err(|_| ProposeError::Overloaded)?;
        let (reply, answer) = oneshot::channel();
        self.enqueue(Waiting { command, reply, _room: room })?;
        match tokio::time::timeout(within, answer).await {
            Ok(Ok(answer)) => answer,
            // The batcher ended with this in hand, or the time is up: either way nobody knows.
            Ok(Err(_)) | Err(_) => Err(ProposeError::TimedOut),
        }
    }

    /// Looks at the state of this server. It may lie behind the leader's; use [`Consensus::linearizable_read`] for anything that
    /// decides about secrets. Keep `look` short: applying waits for it.
    pub fn read<T>(&self, look: impl FnOnce(&M) -> T) -> T {
        look(&self.inner.shared.read().machine)
    }

    /// Looks at state that holds everything acknowledged by anyone before this call, on any server of the group: the leader
    /// confirms with a quorum, and this server waits until it has caught up.
    ///
    /// # Errors
    /// [`ReadError`]: only after `within`, or when this server stops.
    pub async fn linearizable_read<T>(&self, within: Duration, look: impl FnOnce(&M) -> T) -> Result<T, ReadError> {
        match tokio::time::timeout(within, self.catch_up(within)).await {
            Ok(caught_up) => caught_up?,
            Err(_) if self.status().leader.is_none() => return Err(ReadError::NotLeader { leader: None }),
            Err(_) => return Err(ReadError::TimedOut),
        }
        Ok(self.read(look))
    }

    /// Watches changes from now on. To miss nothing, watch first and read after.
    #[must_use]
    pub fn watch(&self) -> Changes<M> {
        Changes::new(self.inner.shared.subscribe())
    }

    /// How consensus is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::new(&self.inner.raft.metrics().borrow(), &self.inner.counters, &self.inner.contacts)
    }

    /// The door for other servers.
    #[must_use]
    pub fn peer(&self) -> PeerHandle<M> {
        self.inner.peer.clone()
    }

    pub(super) fn raft(&self) -> &Raft<M> {
        &self.inner.raft
    }

    pub(super) fn courier(&self) -> &dyn Courier<M> {
        self.inner.courier.as_ref()
    }

    pub(super) fn timings(&self) -> Timings {
        self.inner.timings
    }

    /// Answers what waits, saves a snapshot so that the next start is quick, and closes the disk. Idempotent.
    pub async fn shutdown(&self) {
        let Some(mut parts) = self.inner.take_parts() else { return };
        self.inner.close_queue();
        ended("the batcher", &mut parts.batcher).await;
        self.last_snapshot().await;
        self.inner.stopping.store(true, Ordering::Release);
        parts.stop(self.inner.raft.clone()).await;
    }

    async fn last_snapshot(&self) {
        let raft = &self.inner.raft;
        let Some(applied) = raft.metrics().borrow().last_applied else { return };
        if raft.metrics().borrow().snapshot == Some(applied) || raft.trigger().snapshot().await.is_err() {
            return;
        }
        let saved =
            raft.wait(Some(STOP_WAIT_MAX)).metrics(|now| now.snapshot >= Some(applied), "the last snapshot").await;
        if saved.is_err() {
            tracing::warn!("no last snapshot could be saved; the next start applies the log instead");
        }
    }

    fn enqueue(&self, waiting: Waiting<M>) -> Result<(), ProposeError> {
        let proposals = self.inner.proposals.read().unwrap_or_else(PoisonError::into_inner);
        let proposals = proposals.as_ref().ok_or(ProposeError::Unavailable)?;
        // There is as much room in the queue as there are units, so it is never full.
        proposals.try_send(waiting).map_err(|_| ProposeError::Unavailable)
    }

    /// Who leads, if it is not this server.
    fn other_leader(&self) -> Option<Option<(ServerId, Peer)>> {
        let metrics = self.inner.raft.metrics();
        let now = metrics.borrow();
        if now.current_leader == Some(self.inner.id) {
            return None;
        }
        let peer = |id| now.membership_config.membership().get_node(&id).cloned();
        Some(now.current_leader.and_then(|id| Some((id, peer(id)?))))
    }

    /// Waits until the state here holds everything that was acknowledged before the call; the caller's time-out ends it.
    async fn catch_up(&self, within: Duration) -> Result<(), ReadError> {
        let index = loop {
            match self.read_index(within).await {
                Ok(index) => break index,
                Err(ReadError::Unavailable) => return Err(ReadError::Unavailable),
                // An election, or one missed heartbeat.
                Err(ReadError::NotLeader { .. } | ReadError::TimedOut) => tokio::time::sleep(CONFIRM_PAUSE).await,
            }
        };
        let applied = |now: &openraft::RaftMetrics<_, _>| now.last_applied.map_or(0, |id| id.index) >= index;
        let mut metrics = self.inner.raft.metrics();
        match metrics.wait_for(|now| applied(now) || now.running_state.is_err()).await {
            Ok(now) if now.running_state.is_ok() => Ok(()),
            _ => Err(ReadError::Unavailable),
        }
    }

    /// Up to where everything acknowledged reaches, by the word of a leader that a quorum has just confirmed.
    async fn read_index(&self, within: Duration) -> Result<u64, ReadError> {
        let Some(leader) = self.other_leader() else { return peer::read_index(&self.inner.raft).await };
        let (leader, peer) = leader.ok_or(ReadError::NotLeader { leader: None })?;
        match self.inner.courier.read_index(leader, peer, within).await {
            // It stops, this server does not.
            Ok(Err(ReadError::Unavailable)) | Err(_) => Err(ReadError::TimedOut),
            Ok(answer) => answer,
        }
    }
}

/// A group of one has nobody to wait for: it elects at once instead of after an election time-out.
async fn elect_if_alone<M: Machine>(raft: &Raft<M>, id: ServerId) -> Result<(), OpenError> {
    let alone = raft.with_raft_state(move |state| state.membership_state.effective().voter_ids().eq([id]));
    if alone.await.map_err(core)? { raft.trigger().elect().await.map_err(core) } else { Ok(()) }
}

/// Waits for a task to end, but not for ever.
async fn ended(what: &str, task: impl Future<Output = Result<(), JoinError>>) {
    match tokio::time::timeout(STOP_WAIT_MAX, task).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "{what} ended badly"),
        Err(_) => tracing::warn!("{what} did not end in time"),
    }
}

fn core(fatal: Fatal<ServerId>) -> OpenError {
    OpenError::Core(Box::new(fatal))
}

#[cfg(test)]
mod tests;
