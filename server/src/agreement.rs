//! Replicas must agree: each voter says at the end of every window of the log what its state went through in it, the log itself
//! counts the votes, and who differs from the majority stops at once. It is the leader as well as anybody else.
//!
//! A server that stops so may hold what no other has, in memory or in a snapshot. It is ended like one with a broken disk: no
//! answer, no last snapshot. Started again it rebuilds its state from its disk; if that is wrong too, the next window ends it again.
//!
//! Where no majority agrees nobody is known to be right, and all voters stop once, so that nothing is decided on a state that may
//! be wrong. Started again they compare anew.
//!
//! Absent on purpose: repairs. A replica that went another way has a cause, and its words are what a person finds it by.

use std::collections::BTreeSet;

use muster_state::{
    Change, Digest, State,
    command::CompareState,
    record::{ServerStanding, StateSeen},
};
use tokio_util::sync::CancellationToken;

use crate::{
    ledger::{Checkpoint, Ledger, Stopped},
    process,
};

/// Written down with every word: only programs of one version write a state in the same words.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Compares until shutdown, or until it ends the process. Begin it when the state here is up to date.
pub async fn run(ledger: Ledger, server: u64, shutdown: CancellationToken) {
    let old = ledger.read(disputes);
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = speak(&ledger, server) => {}
        why = listen(&ledger, server, &old) => if let Ok(why) = why { process::end(&why) },
    }
}

/// Tells each window that closes, if this server votes. One that could not be told is not missed: the next one is due soon.
async fn speak(ledger: &Ledger, server: u64) {
    let mut checkpoints = ledger.checkpoints();
    loop {
        let last = checkpoints.borrow_and_update().last().copied();
        let votes = |state: &State| state.servers.get(&server).is_some_and(|one| one.standing == ServerStanding::Voter);
        if let Some(Checkpoint { index, digest }) = last.filter(|_| ledger.read(votes)) {
            let seen = StateSeen { version: VERSION.into(), digest: Digest(digest) };
            if let Err(err) = ledger.propose(CompareState { server, index, seen }).await {
                tracing::debug!(index, err = %err, "this server's state was not compared");
            }
        }
        if checkpoints.changed().await.is_err() {
            return;
        }
    }
}

/// Waits until this server has to stop, and says why.
async fn listen(ledger: &Ledger, server: u64, old: &BTreeSet<u64>) -> Result<String, Stopped> {
    let (mut watch, checkpoints) = (ledger.watch(), ledger.checkpoints());
    loop {
        let own = checkpoints.borrow().clone();
        if let Some(why) = ledger.read(|state| verdict(state, server, &own, old)) {
            return Ok(why);
        }
        watch.until(|change| matches!(change, Change::Other)).await?;
    }
}

fn disputes(state: &State) -> BTreeSet<u64> {
    state.comparisons.iter().filter(|(_, comparison)| comparison.disputed).map(|(index, _)| *index).collect()
}

/// Why this server has to stop, if it does. `own` is what it has itself, by now: not what it said before it was started anew.
fn verdict(state: &State, server: u64, own: &[Checkpoint], old: &BTreeSet<u64>) -> Option<String> {
    let wrong = own.iter().find(|own| {
        let comparison = state.comparisons.get(&own.index);
        comparison.is_some_and(|comparison| comparison.condemns(VERSION, &Digest(own.digest)))
    });
    if let Some(Checkpoint { index, .. }) = wrong {
        return Some(format!(
            "server {server}'s state is not the one that a majority of the voters has at log entry {index}. If it happens again after \
             a restart: `muster server remove {server}`, empty its data directory, and let it join as a new one"
        ));
    }
    let is_new = |index: &u64| !old.contains(index) && own.iter().any(|own| own.index == *index);
    let disputed = disputes(state).into_iter().find(is_new)?;
    Some(format!(
        "the voters' states differ at log entry {disputed}, and no majority has the same one: nobody knows which is right. If it \
         happens again after a restart, restore a backup"
    ))
}

#[cfg(test)]
mod tests;
