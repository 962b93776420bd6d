//! The front door of consensus: open, propose, read, watch, stop.

use std::sync::Arc;
use std::time::Duration;

use muster_state::planted::{Bug, is_planted};
use openraft::error::{Fatal, InitializeError, RaftError};
use tokio::sync::{Semaphore, oneshot, watch};

use super::batcher;
use super::changes::Changes;
use super::codec::Rendered;
use super::contacts::Contacts;
use super::courier::Courier;
use super::error::{OpenError, ProposeError, ReadError};
use super::legacy::Legacy;
use super::log_store::LogStore;
use super::machine::Machine;
use super::network::Links;
use super::options::{self, Options, Timings};
use super::outbox::{Caller, Outbox, Slip, Waiting};
use super::parts::{self, Disk, Queues, Running, STOP_WAIT_MAX};
use super::peer::PeerHandle;
use super::signs::Signs;
use super::state_machine::{Shared, StateMachine};
use super::status::Status;
use super::trail::Checkpoint;
use super::transport::Transport;
use super::types::{Peer, Peers, Raft, ServerId};
use crate::storage::Store;
use crate::storage::directory::DataDirectory;
use crate::storage::durable::Counters;
use crate::storage::snapshots::Snapshots;

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
    outbox: Arc<Outbox<M>>,
    leadership: watch::Receiver<Option<u64>>,
    resting: watch::Sender<bool>,
    counters: Arc<Counters>,
    contacts: Contacts,
    room: Arc<Semaphore>,
    queues: Queues<M>,
    running: Running<M>,
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
        let legacy = Legacy::new(log.last());
        let machine = StateMachine::open(snapshots.clone(), log.purged())?;
        let shared = machine.shared();
        let generation = directory.next_generation(shared.known_generation(id) + 1)?;
        let outbox = Arc::new(Outbox::new(id, if is_planted(Bug::GenerationForgotten) { 1 } else { generation }));
        shared.deliver_to(outbox.clone());
        let config = Arc::new(options::config(snapshot_every, timings)?);
        let contacts = Contacts::default();
        let courier: Arc<dyn Courier<M>> = Arc::new(transport.clone());
        let signs = Signs::new();
        let links = Links::new(id, transport, contacts.clone(), signs.clone());
        let raft = Raft::<M>::new(id, config, links, log, machine).await.map_err(core)?;
        elect_if_alone(&raft, id).await?;
        let tasks =
            parts::Tasks { raft: &raft, shared: &shared, outbox: &outbox, courier: &courier, signs: &signs, legacy };
        let disk = Disk { storage, directory };
        let started = tasks.start(clock, timings, counters.clone(), snapshots, disk);
        Ok(Self {
            inner: Arc::new(Inner {
                id,
                peer: PeerHandle::new(raft.clone(), shared.clone(), started.arrivals, legacy, signs),
                raft,
                courier,
                timings,
                shared,
                outbox,
                leadership: started.leadership,
                resting: started.resting,
                counters,
                contacts,
                room: Arc::new(Semaphore::new(batcher::ROOM_BYTES / batcher::ROOM_UNIT_BYTES)),
                queues: started.queues,
                running: started.running,
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

    /// Waits until the state here holds everything that was acknowledged before the call. Serve nothing before: until then it may
    /// lie in the past.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn wait_ready(&self, within: Duration) -> Result<(), ReadError> {
        self.linearizable_read(within, |_| ()).await
    }

    /// Proposes one command and waits for its reply, at most for `within`; on any server of the group. It is carried out once, and
    /// what it wrote can be read here when the reply is there.
    ///
    /// # Errors
    /// [`ProposeError`]; [`ProposeError::may_retry`] says which leave no doubt that nothing happened.
    pub async fn propose(&self, command: M::Command, within: Duration) -> Result<M::Reply, ProposeError> {
        self.propose_fenced(None, command, within).await
    }

    /// The same for work that only the leader of the term does: if the term is over when the command is applied, it is not
    /// carried out.
    ///
    /// # Errors
    /// [`ProposeError::Fenced`] and those of [`Consensus::propose`].
    pub async fn propose_as_leader(
        &self,
        term: u64,
        command: M::Command,
        within: Duration,
    ) -> Result<M::Reply, ProposeError> {
        self.propose_fenced(Some(term), command, within).await
    }

    pub(super) async fn propose_fenced(
        &self,
        fence: Option<u64>,
        command: M::Command,
        within: Duration,
    ) -> Result<M::Reply, ProposeError> {
        let limit = batcher::COMMAND_BYTES_MAX;
        let command = Rendered::new(command).map_err(|_| ProposeError::Malformed)?;
        let bytes = command.bytes();
        if bytes > limit {
            return Err(ProposeError::TooLarge { bytes, limit });
        }
        let room = self.inner.room.clone().try_acquire_many_owned(batcher::room_units(bytes));
        let room = room.map_err(|_| ProposeError::Overloaded)?;
        let (reply, answer) = oneshot::channel();
        let slip = Arc::new(Slip::default());
        let caller = Caller { reply, slip: slip.clone(), _room: room };
        self.inner.queues.propose(Waiting { command, fence, caller })?;
        let answered = tokio::time::timeout(within, answer).await;
        match answered {
            Ok(Ok(answer)) => answer,
            // It left, and came to nothing that is known: nobody can say.
            _ if !is_planted(Bug::UnknownTakenForNothing) && !slip.give_up() => Err(ProposeError::TimedOut),
            Ok(Err(_)) => Err(ProposeError::Unavailable),
            Err(_) if !self.is_led(within) => Err(ProposeError::NoLeader),
            Err(_) => Err(ProposeError::Overloaded),
        }
    }

    /// Whether anybody leads, as far as this server knows. If it leads itself, a majority must have answered it `within`: one that
    /// was cut off stays a leader in its own eyes, and nothing leaves it.
    fn is_led(&self, within: Duration) -> bool {
        let status = self.status();
        let silent = Duration::from_millis(status.quorum_ack_age_ms.unwrap_or(0));
        status.leader.is_some_and(|leader| leader != status.id || silent < within || status.voters().count() == 1)
    }

    /// Whether this server leads, in which term, and may act on it: its state then holds everything that was committed before the
    /// term. It can be late by a moment: fence what must not be.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Option<u64>> {
        self.inner.leadership.clone()
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
        if is_planted(Bug::LocalRead) {
            return Ok(self.read(look));
        }
        let caught_up = tokio::time::timeout(within, self.inner.queues.catch_up()).await;
        match caught_up {
            Ok(Some(())) => Ok(self.read(look)),
            Ok(None) => Err(ReadError::Unavailable),
            Err(_) if self.status().leader.is_none() => Err(ReadError::NotLeader { leader: None }),
            Err(_) => Err(ReadError::TimedOut),
        }
    }

    /// Watches changes from now on. To miss nothing, watch first and read after.
    #[must_use]
    pub fn watch(&self) -> Changes<M> {
        Changes::new(self.inner.shared.subscribe())
    }

    /// What this server's state went through in the latest windows of the log, oldest first: whoever has the same log has the
    /// same, or is wrong.
    #[must_use]
    pub fn checkpoints(&self) -> watch::Receiver<Arc<[Checkpoint]>> {
        self.inner.shared.checkpoints()
    }

    /// How consensus is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::new(&self.inner.raft.metrics().borrow(), &self.inner.counters, &self.inner.contacts)
    }

    /// How often this server was started on its data directory, this time included.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.inner.outbox.generation()
    }

    /// The door for other servers.
    #[must_use]
    pub fn peer(&self) -> PeerHandle<M> {
        self.inner.peer.clone()
    }

    /// Changes this server's state behind consensus' back, as a fault of memory would.
    #[cfg(test)]
    pub(crate) fn tamper(&self, change: impl FnOnce(&mut M)) {
        self.inner.shared.tamper(change);
    }

    pub(super) fn raft(&self) -> &Raft<M> {
        &self.inner.raft
    }

    pub(super) fn courier(&self) -> &dyn Courier<M> {
        self.inner.courier.as_ref()
    }

    pub(super) fn resting(&self) -> &watch::Sender<bool> {
        &self.inner.resting
    }

    pub(super) fn timings(&self) -> Timings {
        self.inner.timings
    }

    /// Answers what waits, hands leadership over, saves a snapshot so that the next start is quick, and closes the disk. Idempotent.
    pub async fn shutdown(&self) {
        let Some(mut parts) = self.inner.running.take() else { return };
        self.inner.queues.close();
        parts.answer_what_waits().await;
        self.hand_over_to_any().await;
        self.last_snapshot().await;
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
}

/// A group of one has nobody to wait for: it elects at once instead of after an election time-out.
async fn elect_if_alone<M: Machine>(raft: &Raft<M>, id: ServerId) -> Result<(), OpenError> {
    let alone = raft.with_raft_state(move |state| state.membership_state.effective().voter_ids().eq([id]));
    if alone.await.map_err(core)? { raft.trigger().elect().await.map_err(core) } else { Ok(()) }
}

fn core(fatal: Fatal<ServerId>) -> OpenError {
    OpenError::Core(Box::new(fatal))
}

#[cfg(test)]
mod tests;
