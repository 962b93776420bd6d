//! What watchers are told: every change in order, or that they missed some and must look at the state anew.

use std::sync::Arc;

use muster_state::Stamp;
use tokio::sync::broadcast;

use super::machine::Machine;

/// Entries a watcher may be behind. One that is further behind resynchronises from state, which costs one read, while a
/// longer queue would cost memory for each of thousands of streams.
pub const WATCHER_ENTRIES_MAX: usize = 1024;

/// One item of a watch.
pub enum Update<M: Machine> {
    /// What one log entry changed.
    Changed {
        /// The entry's index. State that is read after this holds at least this entry.
        index: u64,
        /// The entry's time.
        stamp: Stamp,
        /// The changes, in order; never empty.
        changes: Arc<[M::Change]>,
    },
    /// Changes were missed, because the watcher was slow or the state came whole from another server: read the state anew.
    Resync,
}

impl<M: Machine> Clone for Update<M> {
    fn clone(&self) -> Self {
        match self {
            Self::Changed { index, stamp, changes } => {
                Self::Changed { index: *index, stamp: *stamp, changes: changes.clone() }
            }
            Self::Resync => Self::Resync,
        }
    }
}

/// A watch on changes from now on.
pub struct Changes<M: Machine> {
    receiver: broadcast::Receiver<Update<M>>,
}

impl<M: Machine> Changes<M> {
    pub(super) fn new(receiver: broadcast::Receiver<Update<M>>) -> Self {
        Self { receiver }
    }

    /// Waits for the next item; `None` once this server's consensus has stopped.
    pub async fn next(&mut self) -> Option<Update<M>> {
        match self.receiver.recv().await {
            Ok(update) => Some(update),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Update::Resync),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
