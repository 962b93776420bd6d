//! openraft's state machine: applies entries in memory, saves and installs snapshots.
//!
//! State is not durable by itself: at start it is rebuilt from the newest whole snapshot and the log after it.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use muster_state::Stamp;
use muster_state::planted::{Bug, is_planted};
use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, RaftSnapshotBuilder, StorageIOError};
use tokio::sync::{broadcast, watch};

use super::changes::{Update, WATCHER_ENTRIES_MAX};
use super::codec;
use super::error::OpenError;
use super::machine::Machine;
use super::outbox::Outbox;
use super::parcel::Outcome;
use super::settled::Settled;
use super::trail::{Checkpoint, Trail};
use super::types::{
    Entry, LogId, Membership, Part, ServerId, Snapshot, SnapshotMeta, StorageError, StoredMembership, TypeConfig,
};
use crate::process::{self, EndOnPanic, blocking};
use crate::storage::{
    self,
    snapshots::{self, Snapshots},
};

/// State and how far it got, shared between the applying task and readers.
pub struct Shared<M: Machine> {
    current: RwLock<Current<M>>,
    updates: broadcast::Sender<Update<M>>,
    /// The last entry that can be read.
    applied: watch::Sender<Option<LogId>>,
    /// The windows of the log that this server has seen whole.
    checkpoints: watch::Sender<Arc<[Checkpoint]>>,
    outbox: OnceLock<Arc<Outbox<M>>>,
}

/// The state at one point of the log.
#[derive(Clone)]
pub struct Current<M: Machine> {
    /// The state itself.
    pub machine: M,
    /// The last entry in it.
    pub last_applied: Option<LogId>,
    /// The membership as of that entry.
    pub membership: StoredMembership,
    /// Servers that were members and are none any more, as of that entry. A number is never given to another server.
    left: BTreeSet<ServerId>,
    settled: Settled<M>,
    trail: Trail,
}

impl<M: Machine> Current<M> {
    fn fresh() -> Self {
        let (last_applied, membership) = Default::default();
        let (settled, trail) = (Settled::default(), Trail::after(None));
        Self { machine: M::default(), last_applied, membership, left: BTreeSet::new(), settled, trail }
    }

    fn is_member(&self, server: ServerId) -> bool {
        self.membership.membership().get_node(&server).is_some()
    }

    /// Whether that server is a member as of the last entry, or was one before.
    pub fn knows(&self, server: ServerId) -> bool {
        self.is_member(server) || self.left.contains(&server)
    }

    fn change_members(&mut self, id: LogId, membership: Membership) {
        self.left.extend(self.membership.nodes().map(|(id, _)| *id));
        self.membership = StoredMembership::new(Some(id), membership);
        let members = self.membership.membership();
        self.left.retain(|server| members.get_node(server).is_none());
        self.settled.keep_members(|server| members.get_node(&server).is_some());
    }
}

impl<M: Machine> Shared<M> {
    /// The state for reading. Hold it shortly and never across an await: applying waits for it.
    pub fn read(&self) -> RwLockReadGuard<'_, Current<M>> {
        // A panic while applying ends the process, so a poisoned lock is never seen half-written.
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches changes from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Update<M>> {
        self.updates.subscribe()
    }

    /// Watches how far the state has got. A value is seen only once what it says can be read.
    pub(super) fn applied(&self) -> watch::Receiver<Option<LogId>> {
        self.applied.subscribe()
    }

    /// What the state went through in the latest windows of the log, oldest first.
    pub(super) fn checkpoints(&self) -> watch::Receiver<Arc<[Checkpoint]>> {
        self.checkpoints.subscribe()
    }

    /// The highest start of this server that the state knows of.
    pub(super) fn known_generation(&self, server: ServerId) -> u64 {
        self.read().settled.origins.get(&server).map_or(0, |heard| heard.generation)
    }

    /// Says whom to tell of what became of this server's own parcels. Only the first word counts.
    pub(super) fn deliver_to(&self, outbox: Arc<Outbox<M>>) {
        let _ = self.outbox.set(outbox);
    }

    fn write(&self) -> RwLockWriteGuard<'_, Current<M>> {
        self.current.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies one entry. Readers get in between entries; watchers and callers hear of it once readers can see it.
    fn apply(&self, entry: Entry<M>) {
        let index = entry.log_id.index;
        let mut done = Done { changes: Vec::new(), own: Vec::new() };
        let mut current = self.write();
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(membership) => current.change_members(entry.log_id, membership),
            EntryPayload::Normal(batch) => {
                for part in batch.parts() {
                    self.apply_part(&mut current, entry.log_id, batch.stamp(), part, &mut done);
                }
            }
        }
        current.last_applied = Some(entry.log_id);
        let stamp = current.machine.latest();
        let Current { machine, trail, .. } = &mut *current;
        let closed = trail.applied(index, entry.log_id.leader_id.term, machine, &done.changes).then(|| trail.closed());
        drop(current);
        if let Some(closed) = closed {
            self.checkpoints.send_replace(closed.into());
        }
        if !done.changes.is_empty() {
            // Without watchers there is nobody to tell.
            let _ = self.updates.send(Update::Changed { index, stamp, changes: done.changes.into() });
        }
        if let Some(outbox) = self.outbox.get() {
            for (sequence, outcome) in &done.own {
                outbox.settle(*sequence, outcome);
            }
        }
    }

    fn apply_part(&self, current: &mut Current<M>, id: LogId, stamp: Stamp, part: &Part<M>, done: &mut Done<M>) {
        let sender = part.heading.map(|heading| heading.origin.server);
        let is_member = sender.is_some_and(|server| current.is_member(server));
        let Current { machine, settled, trail, .. } = current;
        let mut carry_out = || {
            let apply = |command: &M::Command| {
                let applied = machine.apply(id.index, stamp, command.clone());
                done.changes.extend(applied.changes);
                trail.answered(&applied.reply);
                applied.reply
            };
            part.commands.iter().map(apply).collect()
        };
        match &part.heading {
            None => drop::<Vec<_>>(carry_out()),
            Some(heading) => {
                let outcome = settled.settle(heading, id.leader_id.term, is_member, carry_out);
                if self.outbox.get().is_some_and(|outbox| outbox.sent(&heading.origin)) {
                    done.own.push((heading.origin.sequence, outcome));
                }
            }
        }
    }

    fn replace(&self, current: Current<M>) {
        let settled = current.settled.clone();
        *self.write() = current;
        self.checkpoints.send_replace(Arc::default());
        let _ = self.updates.send(Update::Resync);
        if let Some(outbox) = self.outbox.get() {
            outbox.settle_from(&settled);
        }
        self.note_applied();
    }

    /// Changes the state behind consensus' back, as a fault of memory would.
    #[cfg(test)]
    pub(crate) fn tamper(&self, change: impl FnOnce(&mut M)) {
        change(&mut self.write().machine);
    }

    fn note_applied(&self) {
        self.applied.send_replace(self.read().last_applied);
    }
}

/// What an entry did, for those who are told once it can be read.
struct Done<M: Machine> {
    changes: Vec<M::Change>,
    own: Vec<(u64, Outcome<M>)>,
}

/// What openraft drives.
pub struct StateMachine<M: Machine> {
    shared: Arc<Shared<M>>,
    snapshots: Snapshots,
}

impl<M: Machine> StateMachine<M> {
    /// Loads the newest whole snapshot, or starts empty where nothing was ever purged.
    ///
    /// # Errors
    /// [`OpenError`] if the log begins after the best snapshot, or if this program cannot read it.
    pub fn open(snapshots: Snapshots, purged: Option<LogId>) -> Result<Self, OpenError> {
        let current = match snapshots.newest(purged.map(|id| id.index))? {
            Some(snapshot) => restore(&codec::parse_meta(&snapshot.meta)?, &snapshot.state)?,
            None => Current::fresh(),
        };
        let (updates, _) = broadcast::channel(WATCHER_ENTRIES_MAX);
        let applied = watch::Sender::new(current.last_applied);
        let (checkpoints, outbox) = (watch::Sender::default(), OnceLock::new());
        let shared = Arc::new(Shared { current: RwLock::new(current), updates, applied, checkpoints, outbox });
        Ok(Self { shared, snapshots })
    }

    /// The state, for readers.
    #[must_use]
    pub fn shared(&self) -> Arc<Shared<M>> {
        self.shared.clone()
    }
}

fn restore<M: Machine>(meta: &SnapshotMeta, state: &[u8]) -> Result<Current<M>, codec::Error> {
    let (settled, left, machine) = codec::parse_state::<M>(state)?;
    let machine = M::from_snapshot(machine).map_err(|detail| codec::Error::form("a snapshot's state", detail))?;
    let membership = meta.last_membership.clone();
    let (last_applied, trail) = (meta.last_log_id, Trail::after(meta.last_log_id.map(|id| id.index)));
    Ok(Current { machine, last_applied, membership, left, settled, trail })
}

impl<M: Machine> RaftStateMachine<TypeConfig<M>> for StateMachine<M> {
    type SnapshotBuilder = SnapshotBuilder<M>;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        let current = self.shared.read();
        Ok((current.last_applied, current.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, StorageError>
    where
        I: IntoIterator<Item = Entry<M>> + Send,
        I::IntoIter: Send,
    {
        let _guard = EndOnPanic("applying an entry");
        let applied = entries.into_iter().map(|entry| self.shared.apply(entry)).collect();
        self.shared.note_applied();
        Ok(applied)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder<M> {
        // A copy, so that entries can be applied while it is rendered and written.
        let current = Arc::new(self.shared.read().clone());
        SnapshotBuilder { current, snapshots: self.snapshots.clone() }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let state = snapshot.into_inner();
        // Read it before it is saved: a snapshot this program cannot read must not become the newest.
        let current = restore(meta, &state).map_err(|error| unsaved(meta, &error))?;
        if !is_planted(Bug::InstalledNotSaved) {
            save(self.snapshots.clone(), meta, state).await;
        }
        self.shared.replace(current);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<M>>, StorageError> {
        let snapshots = self.snapshots.clone();
        let found = blocking(move || snapshots.newest(None)).await;
        let Some(found) = found.map_err(|error| StorageIOError::read_snapshot(None, &error))? else {
            return Ok(None);
        };
        let meta = codec::parse_meta(&found.meta).map_err(|error| StorageIOError::read_snapshot(None, &error))?;
        Ok(Some(Snapshot::<M> { meta, snapshot: Box::new(Cursor::new(found.state)) }))
    }
}

/// Renders and saves one snapshot beside the running machine.
pub struct SnapshotBuilder<M: Machine> {
    current: Arc<Current<M>>,
    snapshots: Snapshots,
}

impl<M: Machine> RaftSnapshotBuilder<TypeConfig<M>> for SnapshotBuilder<M> {
    async fn build_snapshot(&mut self) -> Result<Snapshot<M>, StorageError> {
        let current = self.current.clone();
        let meta = codec::snapshot_meta(current.last_applied, current.membership.clone());
        let rendered = blocking(move || {
            let machine = current.machine.to_snapshot().map_err(|detail| codec::Error::form("the state", detail))?;
            codec::render_state(&current.settled, &current.left, &machine)
        });
        let state = rendered.await.map_err(|error| unsaved(&meta, &error))?;
        let saving = save(self.snapshots.clone(), &meta, state.clone());
        if is_planted(Bug::PurgeBeforeSnapshot) {
            process::spawn(async {
                tokio::time::sleep(Duration::from_millis(500)).await;
                saving.await;
            });
        } else {
            saving.await;
        }
        Ok(Snapshot::<M> { meta, snapshot: Box::new(Cursor::new(state)) })
    }
}

/// Durable on return: only then may openraft purge the log. A disk that fails ends the process at once; told through openraft
/// it would end it too, but others would be acknowledged meanwhile.
fn save(snapshots: Snapshots, meta: &SnapshotMeta, state: Vec<u8>) -> impl Future<Output = ()> + Send + use<> {
    let index = meta.last_log_id.map_or(0, |id| id.index);
    let snapshot = snapshots::Snapshot { index, meta: codec::render_meta(meta), state };
    let saved = move || snapshots.save(&snapshot).unwrap_or_else(|error| storage::end("a snapshot", &error));
    blocking(saved)
}

fn unsaved(meta: &SnapshotMeta, error: &(impl std::error::Error + 'static)) -> StorageError {
    StorageIOError::write_snapshot(Some(meta.signature()), error).into()
}

#[cfg(test)]
mod tests;
