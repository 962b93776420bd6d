//! openraft's state machine: applies entries in memory, saves and installs snapshots.
//!
//! State is not durable by itself: at start it is rebuilt from the newest whole snapshot and the log after it.

use std::io::Cursor;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, RaftSnapshotBuilder, StorageIOError};
use tokio::sync::broadcast;

use super::changes::{Update, WATCHER_ENTRIES_MAX};
use super::codec;
use super::error::OpenError;
use super::machine::Machine;
use super::types::{Entry, LogId, Replies, Snapshot, SnapshotMeta, StorageError, StoredMembership, TypeConfig};
use crate::process::{EndOnPanic, blocking};
use crate::storage::{
    self,
    snapshots::{self, Snapshots},
};

/// State and how far it got, shared between the applying task and readers.
pub struct Shared<M: Machine> {
    current: RwLock<Current<M>>,
    updates: broadcast::Sender<Update<M>>,
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

    fn write(&self) -> RwLockWriteGuard<'_, Current<M>> {
        self.current.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies one entry. Readers get in between entries, watchers hear of it once readers can see it.
    fn apply(&self, entry: Entry<M>) -> Replies<M> {
        let index = entry.log_id.index;
        let mut replies = Vec::new();
        let mut changes = Vec::new();
        let mut current = self.write();
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(membership) => {
                current.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
            EntryPayload::Normal(batch) => {
                for command in batch.commands() {
                    let applied = current.machine.apply(index, batch.stamp(), command.clone());
                    replies.push(applied.reply);
                    changes.extend(applied.changes);
                }
            }
        }
        current.last_applied = Some(entry.log_id);
        let stamp = current.machine.latest();
        drop(current);
        if !changes.is_empty() {
            // Without watchers there is nobody to tell.
            let _ = self.updates.send(Update::Changed { index, stamp, changes: changes.into() });
        }
        Replies(replies)
    }
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
            None => Current { machine: M::default(), last_applied: None, membership: StoredMembership::default() },
        };
        let (updates, _) = broadcast::channel(WATCHER_ENTRIES_MAX);
        let shared = Arc::new(Shared { current: RwLock::new(current), updates });
        Ok(Self { shared, snapshots })
    }

    /// The state, for readers.
    #[must_use]
    pub fn shared(&self) -> Arc<Shared<M>> {
        self.shared.clone()
    }
}

fn restore<M: Machine>(meta: &SnapshotMeta, state: &[u8]) -> Result<Current<M>, codec::Error> {
    let machine = M::from_snapshot(state).map_err(|detail| codec::Error::form("a snapshot's state", detail))?;
    Ok(Current { machine, last_applied: meta.last_log_id, membership: meta.last_membership.clone() })
}

impl<M: Machine> RaftStateMachine<TypeConfig<M>> for StateMachine<M> {
    type SnapshotBuilder = SnapshotBuilder<M>;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        let current = self.shared.read();
        Ok((current.last_applied, current.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Replies<M>>, StorageError>
    where
        I: IntoIterator<Item = Entry<M>> + Send,
        I::IntoIter: Send,
    {
        let _guard = EndOnPanic("applying an entry");
        Ok(entries.into_iter().map(|entry| self.shared.apply(entry)).collect())
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
        save(self.snapshots.clone(), meta, state).await;
        *self.shared.write() = current;
        let _ = self.shared.updates.send(Update::Resync);
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
        let state = blocking(move || current.machine.to_snapshot()).await;
        let state = state.map_err(|detail| unsaved(&meta, &codec::Error::form("the state", detail)))?;
        save(self.snapshots.clone(), &meta, state.clone()).await;
        Ok(Snapshot::<M> { meta, snapshot: Box::new(Cursor::new(state)) })
    }
}

/// Durable on return: only then may openraft purge the log. A disk that fails ends the process at once; told through openraft
/// it would end it too, but others would be acknowledged meanwhile.
async fn save(snapshots: Snapshots, meta: &SnapshotMeta, state: Vec<u8>) {
    let index = meta.last_log_id.map_or(0, |id| id.index);
    let snapshot = snapshots::Snapshot { index, meta: codec::render_meta(meta), state };
    let saved = move || snapshots.save(&snapshot).unwrap_or_else(|error| storage::end("a snapshot", &error));
    blocking(saved).await;
}

fn unsaved(meta: &SnapshotMeta, error: &(impl std::error::Error + 'static)) -> StorageError {
    StorageIOError::write_snapshot(Some(meta.signature()), error).into()
}

#[cfg(test)]
mod tests;
