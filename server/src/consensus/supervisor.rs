//! Watches over openraft: a core that died for any reason ends the process; a log that grew large gets a snapshot; what two
//! snapshots hold is purged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use muster_state::planted::{Bug, is_planted};
use openraft::error::Fatal;

use super::machine::Machine;
use super::types::{LogId, Raft};
use crate::process;
use crate::storage::durable::Counters;
use crate::storage::snapshots::Snapshots;

/// Bytes of entries since the last snapshot that call for one before the count of entries does: entries can be large, and
/// all of them are read at every start.
const BYTES_BETWEEN_SNAPSHOTS: u64 = 64 * 1024 * 1024;

/// The task that watches.
pub(super) struct Supervisor<M: Machine> {
    pub(super) raft: Raft<M>,
    pub(super) counters: Arc<Counters>,
    pub(super) snapshots: Snapshots,
    /// Set before openraft is told to stop.
    pub(super) stopping: Arc<AtomicBool>,
}

/// Where the last snapshot was and what has come since.
#[derive(Default)]
struct Since {
    snapshot: Option<LogId>,
    appended_bytes: u64,
    asked: bool,
}

impl<M: Machine> Supervisor<M> {
    /// Runs until openraft stops.
    pub(super) async fn run(self) {
        let mut metrics = self.raft.metrics();
        let mut since = Since::default();
        loop {
            let (running, snapshot) = {
                // Never held across an await: openraft's core waits for it.
                let metrics = metrics.borrow_and_update();
                (metrics.running_state.clone(), metrics.snapshot)
            };
            if let Err(fatal) = running {
                return self.judge(&fatal);
            }
            // A failure of these shows in `running_state` with the next turn.
            let _ = self.keep_bounded(&mut since, snapshot).await;
            if metrics.changed().await.is_err() {
                return self.judge(&Fatal::Panicked);
            }
        }
    }

    async fn keep_bounded(&self, since: &mut Since, snapshot: Option<LogId>) -> Result<(), Fatal<u64>> {
        let appended_bytes = self.counters.appended_bytes.load(Ordering::Relaxed);
        if since.snapshot != snapshot {
            *since = Since { snapshot, appended_bytes, asked: false };
            self.purge().await?;
        }
        if !since.asked && appended_bytes - since.appended_bytes > BYTES_BETWEEN_SNAPSHOTS {
            since.asked = true;
            self.raft.trigger().snapshot().await?;
        }
        Ok(())
    }

    /// Purges up to the older of the two snapshots that are kept, so that the log always reaches back to it: should the newer
    /// one turn out damaged, nothing is lost.
    async fn purge(&self) -> Result<(), Fatal<u64>> {
        let newest = self.raft.metrics().borrow().snapshot.filter(|_| is_planted(Bug::PurgeBeforeSnapshot));
        if let Some(newest) = newest {
            return self.raft.trigger().purge_log(newest.index).await;
        }
        let snapshots = self.snapshots.clone();
        match process::blocking(move || snapshots.fallback()).await {
            Ok(Some(index)) => self.raft.trigger().purge_log(index).await,
            Ok(None) => Ok(()),
            Err(error) => {
                // The log stays longer than it must; the next snapshot tries again.
                tracing::warn!(%error, "snapshots cannot be listed");
                Ok(())
            }
        }
    }

    fn judge(&self, fatal: &Fatal<u64>) {
        if self.stopping.load(Ordering::Acquire) {
            return;
        }
        process::end(&format!("consensus has died: {fatal}"))
    }
}
