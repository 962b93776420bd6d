//! The newest entries in memory, so that applying what was just appended does not read it back from disk.

use std::collections::VecDeque;

use super::machine::Machine;
use super::types::Entry;

/// Bytes of encoded entries kept. Peers that lag further behind are served from disk; entries that were just appended are a
/// few hundred KiB.
pub(super) const CACHE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A run of entries without holes that ends with the last one of the log.
pub(super) struct LogCache<M: Machine> {
    entries: VecDeque<(Entry<M>, usize)>,
    bytes: usize,
}

impl<M: Machine> Default for LogCache<M> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), bytes: 0 }
    }
}

impl<M: Machine> LogCache<M> {
    /// Index of the first entry here.
    pub(super) fn first(&self) -> Option<u64> {
        self.entries.front().map(|(entry, _)| entry.log_id.index)
    }

    /// Adds the newest entry of the log and forgets the oldest if there are too many bytes.
    pub(super) fn push(&mut self, entry: Entry<M>, bytes: usize) {
        self.entries.push_back((entry, bytes));
        self.bytes += bytes;
        while self.bytes > CACHE_BYTES_MAX && self.entries.len() > 1 {
            self.forget_first();
        }
    }

    /// Forgets entries from `from` on.
    pub(super) fn truncate(&mut self, from: u64) {
        while self.entries.back().is_some_and(|(entry, _)| entry.log_id.index >= from) {
            self.bytes -= self.entries.pop_back().map_or(0, |(_, bytes)| bytes);
        }
    }

    /// Forgets entries up to and with `upto`.
    pub(super) fn purge(&mut self, upto: u64) {
        while self.first().is_some_and(|first| first <= upto) {
            self.forget_first();
        }
    }

    /// The entries in `from..to` that are here.
    pub(super) fn range(&self, from: u64, to: u64) -> Vec<Entry<M>> {
        let first = self.first().unwrap_or(0);
        // There are no holes, so an index says where an entry lies.
        let place =
            |index: u64| usize::try_from(index.saturating_sub(first)).unwrap_or(usize::MAX).min(self.entries.len());
        let (from, to) = (place(from), place(to));
        self.entries.range(from..to.max(from)).map(|(entry, _)| entry.clone()).collect()
    }

    fn forget_first(&mut self) {
        self.bytes -= self.entries.pop_front().map_or(0, |(_, bytes)| bytes);
    }
}

#[cfg(test)]
mod tests {
    use openraft::{CommittedLeaderId, EntryPayload};

    use super::*;
    use crate::consensus::machine::toy::Toy;
    use crate::consensus::types::LogId;

    fn mk_entry(index: u64) -> Entry<Toy> {
        Entry::<Toy> { log_id: LogId::new(CommittedLeaderId::new(1, 0), index), payload: EntryPayload::Blank }
    }

    fn indices(cache: &LogCache<Toy>) -> Vec<u64> {
        cache.range(0, u64::MAX).iter().map(|entry| entry.log_id.index).collect()
    }

    #[test]
    fn it_keeps_the_newest_that_fit() {
        let mut cache = LogCache::default();
        for index in 0..5 {
            cache.push(mk_entry(index), CACHE_BYTES_MAX / 3);
        }
        assert_eq!(indices(&cache), [2, 3, 4]);
        cache.push(mk_entry(5), 2 * CACHE_BYTES_MAX);
        assert_eq!(indices(&cache), [5]);
    }

    #[test]
    fn it_follows_truncation_and_purge() {
        let mut cache = LogCache::default();
        for index in 0..10 {
            cache.push(mk_entry(index), 10);
        }
        cache.truncate(8);
        cache.purge(2);
        assert_eq!(indices(&cache), [3, 4, 5, 6, 7]);
        assert_eq!(cache.bytes, 50);
        cache.purge(100);
        assert_eq!((cache.first(), cache.bytes), (None, 0));
    }
}
