//! A simulated disk that carries one server's log: what was written and not synchronised may be gone after a power cut.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muster_server::storage::Error;
use muster_server::storage::backend::{Backend, Batch, Visit};

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;
type Writes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// What a full disk is called in the reason for which a server ends.
pub const FULL: &str = "no space left on the simulated disk";

/// The disk. It outlives the processes that use it; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    platter: Arc<Mutex<Platter>>,
}

#[derive(Debug, Default)]
struct Platter {
    durable: Pairs,
    /// Batches since the last sync, oldest first.
    unsynced: VecDeque<Writes>,
    /// Counts power cuts and kills: whoever opened it before one no longer reaches it.
    cuts: u64,
    full: bool,
}

fn put(pairs: &mut Pairs, writes: Writes) {
    for (key, value) in writes {
        match value {
            Some(value) => pairs.insert(key, value),
            None => pairs.remove(&key),
        };
    }
}

impl Disk {
    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.platter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens what survived.
    #[must_use]
    pub fn open(&self) -> Box<dyn Backend> {
        let platter = self.platter();
        Box::new(Opened { disk: self.clone(), cut: platter.cuts, visible: platter.durable.clone() })
    }

    /// Cuts the power: of the batches that were not synchronised the oldest `kept` survive, for an engine writes in order, and
    /// each is whole or not there.
    pub fn cut_power(&self, kept: usize) {
        let mut platter = self.platter();
        platter.cuts += 1;
        let unsynced = std::mem::take(&mut platter.unsynced);
        unsynced.into_iter().take(kept).for_each(|writes| put(&mut platter.durable, writes));
    }

    /// Whether writes fail from now on.
    pub fn set_full(&self, full: bool) {
        self.platter().full = full;
    }

    /// Batches that a power cut may take.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.platter().unsynced.len()
    }
}

/// The disk as the process sees it that opened it.
struct Opened {
    disk: Disk,
    cut: u64,
    visible: Pairs,
}

impl Backend for Opened {
    fn write(&mut self, batch: &Batch) -> Result<(), Error> {
        let writes: Writes = batch.iter().map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec))).collect();
        let mut platter = self.disk.platter();
        // A process that is dead by now; nobody hears the answer.
        if platter.cuts != self.cut {
            return Ok(());
        }
        if platter.full {
            let source = std::io::Error::new(std::io::ErrorKind::StorageFull, FULL);
            return Err(Error::Io { action: "write", path: PathBuf::from("the log"), source });
        }
        platter.unsynced.push_back(writes.clone());
        drop(platter);
        put(&mut self.visible, writes);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        let mut platter = self.disk.platter();
        if platter.cuts == self.cut {
            let unsynced = std::mem::take(&mut platter.unsynced);
            unsynced.into_iter().for_each(|writes| put(&mut platter.durable, writes));
        }
        Ok(())
    }

    fn scan(&self, range: Range<&[u8]>, visit: &mut Visit<'_>) -> Result<(), Error> {
        let mut pairs = self.visible.range(range.start.to_vec()..range.end.to_vec());
        pairs.try_for_each(|(key, value)| visit(key, value))
    }

    fn close(&mut self) -> Result<(), Error> {
        self.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(backend: &mut Box<dyn Backend>, key: u8) -> Result<(), Error> {
        let mut batch = Batch::default();
        batch.put(vec![key], vec![key]).unwrap();
        backend.write(&batch)
    }

    fn keys(backend: &dyn Backend) -> Vec<u8> {
        let mut keys = Vec::new();
        backend
            .scan(&[0][..]..&[255][..], &mut |key, _| {
                keys.push(key[0]);
                Ok(())
            })
            .unwrap();
        keys
    }

    #[test]
    fn a_power_cut_takes_the_newest_of_what_was_not_synchronised() {
        let disk = Disk::default();
        let mut backend = disk.open();
        write(&mut backend, 1).unwrap();
        backend.sync().unwrap();
        write(&mut backend, 2).unwrap();
        write(&mut backend, 3).unwrap();
        assert_eq!(keys(backend.as_ref()), [1, 2, 3]);
        disk.cut_power(1);
        assert_eq!(keys(disk.open().as_ref()), [1, 2]);
    }

    #[test]
    fn a_process_from_before_a_power_cut_no_longer_reaches_the_disk() {
        let disk = Disk::default();
        let mut before = disk.open();
        disk.cut_power(0);
        write(&mut before, 1).unwrap();
        before.sync().unwrap();
        assert_eq!(keys(disk.open().as_ref()), [0; 0]);
    }

    #[test]
    fn a_full_disk_refuses_and_keeps_what_it_has() {
        let disk = Disk::default();
        let mut backend = disk.open();
        write(&mut backend, 1).unwrap();
        backend.sync().unwrap();
        disk.set_full(true);
        assert!(write(&mut backend, 2).is_err());
        disk.cut_power(9);
        assert_eq!(keys(disk.open().as_ref()), [1]);
    }
}
