//! What the state went through, window by window of the log, each as one hash: replicas with the same log must have the same.
//!
//! A window holds what was answered, what the commands touched, and a part of the state that nobody touched; see
//! [`Machine::trace`] and [`Machine::sample`]. It counts entries, not bytes or time, so that every server closes the same ones. A
//! server that begins within a window, from a snapshot, has nothing to say of that one. Nothing of it is stored: what an
//! earlier version of the program wrote down in its own words must not be compared with what this one says.

use std::collections::VecDeque;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::machine::Machine;

/// Entries of a window. A replica that went another way is noticed after so many.
pub(super) const WINDOW_ENTRIES: u64 = 256;

/// Windows that are remembered, so that a slow majority is still compared with.
const KEPT: usize = 8;

/// One window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its last entry.
    pub index: u64,
    /// What the state went through in it.
    pub digest: [u8; 32],
}

/// The windows of this server since it started.
#[derive(Clone)]
pub(super) struct Trail {
    /// The open window; none if it was not seen from its first entry on.
    open: Option<Sha256>,
    closed: VecDeque<Checkpoint>,
}

impl Trail {
    /// Of a state that holds the log up to this entry.
    pub(super) fn after(index: Option<u64>) -> Self {
        let is_at_an_end = index.is_none_or(|index| index % WINDOW_ENTRIES == 0);
        Self { open: is_at_an_end.then(Sha256::new), closed: VecDeque::new() }
    }

    /// The windows that are closed, oldest first.
    pub(super) fn closed(&self) -> Vec<Checkpoint> {
        self.closed.iter().copied().collect()
    }

    /// A command was answered.
    pub(super) fn answered(&mut self, reply: &impl Serialize) {
        let Some(hash) = &mut self.open else { return };
        // A reply is stored for retries, so it has a JSON; one that has none is the same nothing everywhere.
        hash.update(serde_json::to_vec(reply).unwrap_or_default());
        hash.update([0]);
    }

    /// An entry was applied. `true`: it was the last of its window.
    pub(super) fn applied<M: Machine>(&mut self, index: u64, term: u64, machine: &M, changes: &[M::Change]) -> bool {
        let is_last = index.is_multiple_of(WINDOW_ENTRIES);
        if let Some(hash) = &mut self.open {
            hash.update(index.to_be_bytes());
            hash.update(term.to_be_bytes());
            machine.trace(changes, hash);
            if is_last {
                machine.sample(index / WINDOW_ENTRIES, hash);
            }
        }
        if !is_last {
            return false;
        }
        let was_whole =
            self.open.replace(Sha256::new()).map(|hash| Checkpoint { index, digest: hash.finalize().into() });
        self.closed.extend(was_whole);
        while self.closed.len() > KEPT {
            self.closed.pop_front();
        }
        was_whole.is_some()
    }
}

#[cfg(test)]
mod tests {
    use muster_state::Stamp;

    use super::*;
    use crate::consensus::machine::toy::{Toy, Write};

    /// Windows of a server that applies these entries, and whose state is tampered with before one of them.
    fn windows(entries: std::ops::RangeInclusive<u64>, tampered_before: Option<u64>) -> Vec<Checkpoint> {
        let (mut toy, mut trail) = (Toy::default(), Trail::after(entries.start().checked_sub(1)));
        for index in entries {
            if tampered_before == Some(index) {
                toy.notes[0].text = "another".into();
            }
            let applied = toy.apply(index, Stamp { now_ms: index }, Write::new(format!("note {index}")));
            trail.answered(&applied.reply);
            trail.applied(index, 1, &toy, &applied.changes);
        }
        trail.closed()
    }

    #[test]
    fn the_same_history_makes_the_same_windows_and_another_does_not() {
        let same = windows(1..=1000, None);
        assert_eq!(same.iter().map(|window| window.index).collect::<Vec<_>>(), [256, 512, 768]);
        assert_eq!(windows(1..=1000, None), same);
        let other = windows(1..=1000, Some(300));
        assert_eq!(other[0], same[0], "it was the same until then");
        assert_ne!(other[1], same[1], "nobody touched what was tampered with, and it is seen within the window");
        assert_ne!(other[2], same[2], "and on and on");
    }

    #[test]
    fn a_window_that_was_not_seen_from_its_beginning_is_not_told_and_the_next_one_is() {
        let whole = windows(1..=1024, None);
        let part = |from| {
            // The state of a snapshot, and the entries after it.
            let (mut toy, mut trail) = (Toy::default(), Trail::after(Some(from)));
            for index in 1..=1024 {
                let applied = toy.apply(index, Stamp { now_ms: index }, Write::new(format!("note {index}")));
                if index > from {
                    trail.answered(&applied.reply);
                    trail.applied(index, 1, &toy, &applied.changes);
                }
            }
            trail.closed()
        };
        assert_eq!(part(300), whole[2..]);
        assert_eq!(part(512), whole[2..]);
    }

    #[test]
    fn few_windows_are_remembered() {
        let windows = windows(1..=20 * WINDOW_ENTRIES, None);
        assert_eq!((windows.len(), windows[KEPT - 1].index), (KEPT, 20 * WINDOW_ENTRIES));
    }
}
