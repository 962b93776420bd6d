//! Shut until this server has greeted a peer: a server that has lost what it acknowledged must neither vote nor be counted
//! before somebody could tell it so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A gate between Raft and its peers, shut at first and opened once. Cheap to clone; all clones are one gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<AtomicBool>);

impl Gate {
    /// Lets messages through from now on.
    pub fn open(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether messages go through.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
