use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    Refusal, State, limits,
    record::{Comparison, ServerStanding, StateSeen},
    state::{Change, Context},
};

/// A voter says what its state went through up to an entry of the log. When a majority has said the same, who differs is
/// wrong, and stops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompareState {
    /// The voter.
    pub server: u64,
    /// The last entry of the window.
    pub index: u64,
    /// What it has.
    pub seen: StateSeen,
}

impl CompareState {
    pub(super) fn apply(mut self, state: &mut State, _: Context) -> Result<(), Refusal> {
        if state.server(self.server)?.standing != ServerStanding::Voter {
            let problem = "only voters are asked what their state is".into();
            return Err(Refusal::ServerStanding { server: self.server, problem });
        }
        self.seen.version = limits::clip_to(&self.seen.version, limits::CLAIM_MAX);
        let oldest = state.comparisons.keys().next().copied();
        let is_full = state.comparisons.len() >= limits::COMPARISONS_KEPT;
        if is_full && oldest.is_some_and(|oldest| self.index < oldest) {
            // It is late by several windows, and compares itself with what is kept when it has caught up.
            return Ok(());
        }
        let voters: BTreeSet<u64> = state.servers_that_are(ServerStanding::Voter).map(|server| server.id).collect();
        let comparison = state.comparisons.entry(self.index).or_default();
        let before = comparison.clone();
        comparison.seen.insert(self.server, self.seen);
        comparison.decide(&voters);
        let (after, index) = (comparison.clone(), self.index);
        while state.comparisons.len() > limits::COMPARISONS_KEPT {
            state.comparisons.pop_first();
        }
        tell(state, index, &before, &after);
        state.changes.push(Change::Other);
        Ok(())
    }
}

/// Says each thing once: who differs from the majority, or that there is none.
fn tell(state: &mut State, index: u64, before: &Comparison, after: &Comparison) {
    if after.disputed && !before.disputed {
        let text = format!("the voters' states differ at log entry {index} and no majority has the same one; all of them stop");
        state.event(true, "StatesDiffer", text, None, None);
    }
    let wrong = |comparison: &Comparison, server: &u64| {
        comparison.seen.get(server).is_some_and(|seen| comparison.condemns(&seen.version, &seen.digest))
    };
    for server in after.seen.keys().filter(|server| wrong(after, server) && !wrong(before, server)) {
        let text = format!("server {server} had another state than the majority at log entry {index}, and stops");
        state.server_event(true, "StatesDiffer", text, *server);
    }
}
