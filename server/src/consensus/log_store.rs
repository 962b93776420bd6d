//! openraft's log over [`crate::storage`]: says when what is durable, and keeps the newest entries at hand.

use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muster_state::planted::{Bug, is_planted};
use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{EntryPayload, RaftLogReader, StorageIOError};

use super::codec;
use super::log_cache::LogCache;
use super::machine::Machine;
use super::types::{Entry, LogId, StorageError, TypeConfig, Vote};
use crate::storage::{self, Opened, PurgePoint, Record, Store};

/// Bytes of entries in one message to a peer. openraft bounds messages by count only, and a peer refuses large ones.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// The log as openraft drives it. Calls come from one task, in order.
pub struct LogStore<M: Machine> {
    reader: LogReader<M>,
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    last: Option<LogId>,
}

/// Reads entries, for peers and for applying.
pub struct LogReader<M: Machine> {
    store: Store,
    cache: Arc<Mutex<LogCache<M>>>,
}

impl<M: Machine> Clone for LogReader<M> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), cache: self.cache.clone() }
    }
}

impl<M: Machine> LogStore<M> {
    /// Takes over an opened store.
    ///
    /// # Errors
    /// [`storage::Error::Damaged`] if vote and log contradict each other, for instance because the vote was lost: a server
    /// that forgot its vote may vote twice.
    pub async fn open(store: Store, opened: &Opened) -> Result<Self, storage::Error> {
        let vote = opened.vote.as_deref().map(codec::parse_vote).transpose().map_err(unreadable)?;
        let committed = opened.committed.as_deref().map(codec::parse_log_id).transpose().map_err(unreadable)?;
        let purged = opened.purged.as_ref().map(|point| codec::parse_log_id(&point.detail));
        let purged = purged.transpose().map_err(unreadable)?;
        let reader = LogReader { store, cache: Arc::default() };
        let mut log = Self { reader, vote, committed, purged, last: purged };
        if !opened.present.is_empty() {
            log.last = log.log_id_before(opened.present.end).await?;
        }
        log.verify()?;
        Ok(log)
    }

    /// The id of the last purged entry.
    #[must_use]
    pub fn purged(&self) -> Option<LogId> {
        self.purged
    }

    /// The id of the last entry, purged or not.
    #[must_use]
    pub fn last(&self) -> Option<LogId> {
        self.last
    }

    /// A Raft server votes before it appends anything but the entry that founds the group.
    fn verify(&self) -> Result<(), storage::Error> {
        let Some(last) = self.last else { return Ok(()) };
        let voted = self.vote.map_or(0, |vote| vote.leader_id.term);
        if last.leader_id.term > voted || (last.index > 0 && self.vote.is_none()) {
            let detail = format!("the log ends with an entry of term {last}, but the last vote is of term {voted}");
            return Err(storage::Error::damaged("the vote", detail));
        }
        if self.committed > self.last {
            return Err(storage::Error::damaged("the log", format!("it ends at {last}, before what was committed")));
        }
        Ok(())
    }

    /// The id of the entry before `index`, which is present or the last purged one.
    async fn log_id_before(&self, index: u64) -> Result<Option<LogId>, storage::Error> {
        let Some(before) = index.checked_sub(1) else { return Ok(None) };
        if self.purged.is_some_and(|purged| purged.index >= before) {
            return Ok(self.purged);
        }
        let entries = self.reader.read(before, index, usize::MAX).await?;
        Ok(entries.last().map(|entry| entry.log_id))
    }
}

impl<M: Machine> LogReader<M> {
    fn cache(&self) -> MutexGuard<'_, LogCache<M>> {
        // Nothing is awaited and nothing can panic while it is held.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entries in `from..to`, older ones from disk, newer ones from memory.
    async fn read(&self, from: u64, to: u64, bytes_max: usize) -> Result<Vec<Entry<M>>, storage::Error> {
        let cached_from = self.cache().first().unwrap_or(u64::MAX);
        if from >= cached_from {
            return Ok(self.cache().range(from, to));
        }
        let records = self.store.read(from..to, bytes_max).await?;
        let parsed = records.iter().map(|(index, payload)| codec::parse_entry(*index, payload));
        parsed.collect::<Result<_, _>>().map_err(unreadable)
    }
}

impl<M: Machine> RaftLogReader<TypeConfig<M>> for LogReader<M> {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry<M>>, StorageError>
    where
        RB: RangeBounds<u64> + Clone + Debug + Send,
    {
        let from = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(index) => index.saturating_add(1),
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        self.read(from, to, usize::MAX).await.map_err(|error| StorageIOError::read_logs(&error).into())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry<M>>, StorageError> {
        let mut entries = self
            .read(start, end, MESSAGE_BYTES_MAX)
            .await
            .map_err(|error| StorageError::from(StorageIOError::read_logs(&error)))?;
        let mut bytes = 0;
        let fitting = entries.iter().take_while(|entry| {
            bytes += codec::entry_bytes(entry);
            bytes <= MESSAGE_BYTES_MAX
        });
        let count = fitting.count().max(1);
        entries.truncate(count);
        Ok(entries)
    }
}

impl<M: Machine> RaftLogReader<TypeConfig<M>> for LogStore<M> {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry<M>>, StorageError>
    where
        RB: RangeBounds<u64> + Clone + Debug + Send,
    {
        self.reader.try_get_log_entries(range).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry<M>>, StorageError> {
        self.reader.limited_get_log_entries(start, end).await
    }
}

impl<M: Machine> RaftLogStorage<TypeConfig<M>> for LogStore<M> {
    type LogReader = LogReader<M>;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig<M>>, StorageError> {
        Ok(LogState { last_purged_log_id: self.purged, last_log_id: self.last })
    }

    async fn get_log_reader(&mut self) -> LogReader<M> {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let saved = self.reader.store.save_vote(codec::render_vote(vote)).await;
        saved.map_err(|error| StorageIOError::write_vote(&error))?;
        self.vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        if let Some(id) = committed {
            let noted = self.reader.store.note_committed(codec::render_log_id(&id)).await;
            noted.map_err(|error| StorageIOError::write(&error))?;
        }
        self.committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(if is_planted(Bug::CommittedTooFar) { self.last } else { self.committed })
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig<M>>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry<M>> + Send,
        I::IntoIter: Send,
    {
        let mut records = Vec::new();
        let mut appended = Vec::new();
        // What lies at or below the purge point is in the state already; the log may not grow a second beginning there.
        let begin = self.purged.map_or(0, |purged| purged.index + 1);
        for entry in entries.into_iter().filter(|entry| entry.log_id.index >= begin) {
            let payload = codec::render_entry(&entry);
            if let EntryPayload::Normal(batch) = &entry.payload {
                batch.note_appended();
            }
            appended.push((entry.clone(), payload.len()));
            records.push(Record { index: entry.log_id.index, payload });
        }
        let Some((newest, _)) = appended.last() else {
            callback.log_io_completed(Ok(()));
            return Ok(());
        };
        let newest = newest.log_id;
        // On failure the process ends before the callback could be called.
        let done = Box::new(move || callback.log_io_completed(Ok(())));
        let queued = self.reader.store.append(records, done).await;
        queued.map_err(|error| StorageIOError::write_logs(&error))?;
        let mut cache = self.reader.cache();
        for (entry, bytes) in appended {
            cache.push(entry, bytes);
        }
        drop(cache);
        self.last = Some(newest);
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let failed = |error: storage::Error| StorageIOError::write_logs(&error);
        let last = self.log_id_before(log_id.index).await.map_err(failed)?;
        if !is_planted(Bug::StaleCache) {
            self.reader.cache().truncate(log_id.index);
        }
        self.reader.store.truncate(log_id.index).await.map_err(failed)?;
        self.last = last;
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        if self.purged >= Some(log_id) {
            return Ok(());
        }
        let point = PurgePoint { index: log_id.index, detail: codec::render_log_id(&log_id) };
        self.reader.cache().purge(log_id.index);
        let purged = self.reader.store.purge(point).await;
        purged.map_err(|error| StorageIOError::write_logs(&error))?;
        self.purged = Some(log_id);
        self.last = self.last.max(self.purged);
        Ok(())
    }
}

fn unreadable(error: codec::Error) -> storage::Error {
    storage::Error::damaged("the log", error.to_string())
}

#[cfg(test)]
mod tests;
