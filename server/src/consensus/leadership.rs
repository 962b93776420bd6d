//! Whether this server leads *and* may act on it: its state holds everything that was committed before its term, and a majority
//! has answered it of late.
//!
//! It can be late by a moment, and so can whoever acts on it: what must not be done late is fenced by the term.

use std::time::Duration;

use openraft::ServerState;
use tokio::sync::watch;

use super::legacy::Legacy;
use super::machine::Machine;
use super::types::{LogId, Raft};

/// Between two looks at when a majority answered last.
const LOOK: Duration = Duration::from_millis(200);

/// The task that watches.
pub(super) struct Leadership<M: Machine> {
    pub(super) raft: Raft<M>,
    pub(super) applied: watch::Receiver<Option<LogId>>,
    pub(super) term: watch::Sender<Option<u64>>,
    pub(super) legacy: Legacy,
    /// Without a majority for so long, another server may lead.
    pub(super) lost_after: Duration,
}

impl<M: Machine> Leadership<M> {
    /// Runs until openraft stops.
    pub(super) async fn run(mut self) {
        let mut group = self.raft.server_metrics();
        loop {
            let (leads, term, alone) = {
                let group = group.borrow_and_update();
                let alone = group.membership_config.membership().voter_ids().count() == 1;
                (group.state == ServerState::Leader, group.vote.leader_id.term, alone)
            };
            let caught_up = self.applied.borrow_and_update().is_some_and(|id| self.legacy.is_held(id, term));
            let may_act = leads && caught_up && (alone || self.has_majority());
            let now = may_act.then_some(term);
            self.term.send_if_modified(|before| std::mem::replace(before, now) != now);
            let changed = tokio::select! {
                biased;
                changed = group.changed() => changed,
                changed = self.applied.changed(), if leads && !caught_up => changed,
                () = tokio::time::sleep(LOOK), if leads && !alone => Ok(()),
            };
            if changed.is_err() {
                self.term.send_replace(None);
                return;
            }
        }
    }

    fn has_majority(&self) -> bool {
        let silent_ms = self.raft.metrics().borrow().millis_since_quorum_ack.unwrap_or(0);
        Duration::from_millis(silent_ms) <= self.lost_after
    }
}
