//! Between Raft and its peers: a server that has lost what it acknowledged must neither vote nor be counted before somebody
//! could tell it so.
//!
//! Nothing passes until one peer has welcomed this start, and nothing to or from a peer that has been greeted and has not
//! answered. So what a peer remembers of this server is never of this start when it judges the greeting.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::consensus::ServerId;

/// A gate, shut at first. Cheap to clone; all clones are one gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Mutex<Ways>>);

#[derive(Debug, Default)]
struct Ways {
    open: bool,
    silent: BTreeSet<ServerId>,
}

impl Gate {
    // Held for a set operation, never over an await.
    fn ways(&self) -> MutexGuard<'_, Ways> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing passes to or from these until they have welcomed this server, not even once the gate is open.
    pub fn wait_for(&self, peers: impl IntoIterator<Item = ServerId>) {
        self.ways().silent.extend(peers);
    }

    /// That peer has welcomed this server.
    pub fn welcomed_by(&self, peer: ServerId) {
        self.ways().silent.remove(&peer);
    }

    /// Lets messages through from now on.
    pub fn open(&self) {
        self.ways().open = true;
    }

    /// Whether messages to and from that peer go through.
    #[must_use]
    pub fn lets_through(&self, peer: ServerId) -> bool {
        let ways = self.ways();
        ways.open && !ways.silent.contains(&peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_passes_a_shut_gate_and_none_that_is_waited_for_an_open_one() {
        let gate = Gate::default();
        gate.wait_for([2, 3]);
        gate.welcomed_by(2);
        let passing = |gate: &Gate| (2..=4).filter(|peer| gate.lets_through(*peer)).collect::<Vec<_>>();
        assert_eq!(passing(&gate), Vec::<u64>::new());
        gate.clone().open();
        assert_eq!(passing(&gate), [2, 4]);
        gate.welcomed_by(3);
        assert_eq!(passing(&gate), [2, 3, 4]);
    }
}
