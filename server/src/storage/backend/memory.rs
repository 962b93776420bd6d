//! A backend in memory that tells what was asked of it and what a power cut would leave: for tests.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Backend, Batch, Visit};
use crate::storage::Error;

/// What happened, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Write,
    Sync,
    /// Put in by the test itself when it is told that its write is durable.
    Acknowledge,
}

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Default)]
pub(crate) struct Memory {
    written: Pairs,
    disk: Arc<Mutex<Pairs>>,
    events: Arc<Mutex<Vec<Event>>>,
    slow: Arc<AtomicBool>,
}

impl Memory {
    /// What is there after a power cut: only what was synchronised.
    pub(crate) fn after_power_cut(&self) -> Self {
        let disk = locked(&self.disk).clone();
        Self { written: disk.clone(), disk: Arc::new(Mutex::new(disk)), ..Self::default() }
    }

    /// A second view of the same disk and events.
    pub(crate) fn watcher(&self) -> Self {
        self.clone()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        locked(&self.events).clone()
    }

    pub(crate) fn note(&self, event: Event) {
        locked(&self.events).push(event);
    }

    /// While true, a sync that has begun does not end.
    pub(crate) fn hold_syncs(&self, hold: bool) {
        self.slow.store(hold, Ordering::Release);
    }

    /// All pairs, for a test to damage.
    pub(crate) fn pairs_mut(&mut self) -> &mut Pairs {
        &mut self.written
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Backend for Memory {
    fn write(&mut self, batch: &Batch) -> Result<(), Error> {
        for (key, value) in batch.iter() {
            match value {
                Some(value) => self.written.insert(key.to_vec(), value.to_vec()),
                None => self.written.remove(key),
            };
        }
        self.note(Event::Write);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        while self.slow.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        locked(&self.disk).clone_from(&self.written);
        self.note(Event::Sync);
        Ok(())
    }

    fn scan(&self, range: Range<&[u8]>, visit: &mut Visit<'_>) -> Result<(), Error> {
        for (key, value) in self.written.range(range.start.to_vec()..range.end.to_vec()) {
            visit(key, value)?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        self.sync()
    }
}
