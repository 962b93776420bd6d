//! What happened in a run, in order: lines for whoever looks into a failure, and one number by which two runs are compared.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// Lines kept; the oldest go first.
const LINES_MAX: usize = 20_000;

/// The record of a run.
#[derive(Debug)]
pub struct Journal {
    began: Instant,
    moments: AtomicU64,
    notes: Mutex<Notes>,
}

#[derive(Debug)]
struct Notes {
    lines: std::collections::VecDeque<String>,
    hash: u64,
}

impl Journal {
    /// An empty one; time counts from now.
    #[must_use]
    pub fn new() -> Self {
        let notes = Notes { lines: std::collections::VecDeque::new(), hash: 0xcbf2_9ce4_8422_2325 };
        Self { began: Instant::now(), moments: AtomicU64::new(0), notes: Mutex::new(notes) }
    }

    /// The next moment: no two are the same.
    pub fn moment(&self) -> u64 {
        self.moments.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Writes down a line.
    pub fn note(&self, what: std::fmt::Arguments<'_>) {
        let mut line = format!("{:>10.4} ", self.began.elapsed().as_secs_f64());
        // Writing to a string never fails.
        let _ = line.write_fmt(what);
        let mut notes = self.notes();
        notes.mix(line.as_bytes());
        if notes.lines.len() == LINES_MAX {
            notes.lines.pop_front();
        }
        notes.lines.push_back(line);
    }

    /// Counts something into the number without writing it down: there is much of it.
    pub fn count(&self, what: &[u64]) {
        let now = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut notes = self.notes();
        notes.mix(&now.to_le_bytes());
        what.iter().for_each(|part| notes.mix(&part.to_le_bytes()));
    }

    /// The number of all that happened so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.notes().hash
    }

    /// The lines, oldest first.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.notes().lines.iter().cloned().collect()
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self::new()
    }
}

impl Notes {
    /// FNV-1a: the same on every machine and in every version of the standard library.
    fn mix(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
