//! Which records the log holds, kept in memory: turns appends, truncations and purges into writes, and refuses holes.
//!
//! Pure apart from reading through a [`Backend`]. The whole log is read once, when it is opened: from the purge point on
//! every index must be there, every record whole, every link of the chain unbroken.

use std::collections::VecDeque;
use std::ops::Range;

use muster_state::planted::{Bug, is_planted};

use super::Error;
use super::backend::{Backend, Batch};
use super::record::{self, Digest, Kind};

/// The last record that a snapshot made superfluous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgePoint {
    /// Its index; the log begins one after it.
    pub index: u64,
    /// What the caller wants to know of it later (Raft's log id), opaque here.
    pub detail: Vec<u8>,
}

/// The single values found when the log was opened, as they were saved.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Values {
    pub(super) vote: Option<Vec<u8>>,
    pub(super) committed: Option<Vec<u8>>,
}

/// Where each record is and how the chain runs through it.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Index of the first slot; `None` while nothing was ever appended or purged, when any first index will do.
    first: Option<u64>,
    slots: VecDeque<Slot>,
    purged: Option<PurgePoint>,
    /// Digest of the last purged record; zero if it was purged without ever having been here.
    anchor: Digest,
}

#[derive(Debug)]
struct Slot {
    digest: Digest,
    chunks: u16,
    payload_bytes: usize,
}

impl Log {
    /// Reads and verifies everything that is stored.
    ///
    /// # Errors
    /// [`Error::Damaged`] naming the first thing that is wrong; those of the backend.
    pub(super) fn open(backend: &impl Backend) -> Result<(Self, Values), Error> {
        let extent = read_value(backend, Kind::Extent)?.map(|bytes| Extent::parse(&bytes)).transpose()?;
        let mut log = Self::default();
        if let Some(bytes) = read_value(backend, Kind::Purged)? {
            log.set_purged(&bytes)?;
        }
        if log.first.is_none() {
            log.first = extent.as_ref().map(|extent| extent.first);
        }
        log.read_records(backend)?;
        if log.extent() != extent {
            return Err(Error::damaged("the log", "its first or last record is not the one that was written"));
        }
        let vote = read_value(backend, Kind::Vote)?;
        let committed = read_value(backend, Kind::Committed)?;
        Ok((log, Values { vote, committed }))
    }

    /// The indices present.
    pub(super) fn range(&self) -> Range<u64> {
        let first = self.first.unwrap_or(0);
        first..first + self.slots.len() as u64
    }

    /// The purge point, if anything was ever purged.
    pub(super) fn purged(&self) -> Option<&PurgePoint> {
        self.purged.as_ref()
    }

    /// Bytes of all payloads present.
    pub(super) fn payload_bytes(&self) -> usize {
        self.slots.iter().map(|slot| slot.payload_bytes).sum()
    }

    /// Adds one record at the end.
    ///
    /// # Errors
    /// [`Error::Rule`] if it would leave a hole or overwrite, [`Error::TooLarge`].
    pub(super) fn append(&mut self, batch: &mut Batch, index: u64, payload: &[u8]) -> Result<(), Error> {
        let end = self.range().end;
        if self.first.is_some() && index != end {
            return Err(Error::Rule(format!("append {index} where the log ends before {end}")));
        }
        let (bytes, digest) = record::seal_record(index, &self.last_digest(), payload)?;
        let leaves_hole = is_planted(Bug::AppendLeavesHole) && index.is_multiple_of(8);
        for (chunk, piece) in record::chunks(&bytes).filter(|_| !leaves_hole) {
            batch.put(record::record_key(index, chunk), piece.to_vec())?;
        }
        self.first.get_or_insert(index);
        self.slots.push_back(Slot { digest, chunks: record::chunk_count(bytes.len()), payload_bytes: payload.len() });
        self.put_extent(batch)
    }

    /// Removes all records from `from` on.
    pub(super) fn truncate(&mut self, batch: &mut Batch, from: u64) -> Result<(), Error> {
        while self.range().end > from {
            let index = self.range().end - 1;
            let Some(slot) = self.slots.pop_back() else {
                break;
            };
            delete_record(batch, index, &slot);
        }
        if self.slots.is_empty() && self.purged.is_none() {
            self.first = None;
        }
        self.put_extent(batch)
    }

    /// Removes all records up to and with the point's. The point may lie beyond the end: then a snapshot came from elsewhere
    /// and the log goes on after it. A point behind the present one changes nothing.
    pub(super) fn purge(&mut self, batch: &mut Batch, point: PurgePoint) -> Result<(), Error> {
        if self.purged.as_ref().is_some_and(|purged| purged.index >= point.index) {
            return Ok(());
        }
        let mut anchor = Digest::default();
        while !self.slots.is_empty() && self.range().start <= point.index {
            let index = self.range().start;
            let Some(slot) = self.slots.pop_front() else {
                break;
            };
            delete_record(batch, index, &slot);
            self.first = Some(index + 1);
            anchor = if index == point.index { slot.digest } else { Digest::default() };
        }
        self.first = Some(point.index + 1);
        self.anchor = anchor;
        let mut bytes = point.index.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.anchor);
        bytes.extend_from_slice(&point.detail);
        batch.put(Kind::Purged.key(), record::seal_value(Kind::Purged, &bytes)?)?;
        self.purged = Some(point);
        self.put_extent(batch)
    }

    /// The payloads of the records in `range` that are present, in order. Stops early once `bytes_max` is reached, but
    /// never before the first.
    ///
    /// # Errors
    /// [`Error::Damaged`] if what lies there is not what was written; those of the backend.
    pub(super) fn read(
        &self,
        backend: &impl Backend,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        let present = self.range();
        let (from, mut to) = (range.start.max(present.start), range.end.min(present.end));
        let mut bytes = 0;
        for index in from..to {
            bytes += self.slots[slot_number(&present, index)].payload_bytes;
            if bytes > bytes_max && index > from {
                to = index;
                break;
            }
        }
        let mut found = Vec::new();
        let mut expected = from;
        visit_records(backend, from..to.max(from), |opened| {
            let slot = &self.slots[slot_number(&present, opened.index)];
            if opened.index != expected || opened.digest != slot.digest {
                return Err(Error::damaged(format!("log record {expected}"), "it is not the one that was written"));
            }
            found.push((opened.index, opened.payload.to_vec()));
            expected += 1;
            Ok(())
        })?;
        if expected < to {
            return Err(Error::damaged(format!("log record {expected}"), "it is missing"));
        }
        Ok(found)
    }

    fn read_records(&mut self, backend: &impl Backend) -> Result<(), Error> {
        visit_records(backend, 0..u64::MAX, |opened| {
            let expected = self.range().end;
            if self.first.is_none() || opened.index != expected {
                return Err(Error::damaged(
                    format!("log record {expected}"),
                    format!("record {} stands in its place", opened.index),
                ));
            }
            if opened.previous != self.last_digest() {
                return Err(Error::damaged(
                    format!("log record {expected}"),
                    "it does not continue the record before it",
                ));
            }
            self.slots.push_back(Slot {
                digest: opened.digest,
                chunks: record::chunk_count(record::record_bytes(opened.payload.len())),
                payload_bytes: opened.payload.len(),
            });
            Ok(())
        })
    }

    fn set_purged(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let parsed =
            bytes.split_first_chunk::<8>().and_then(|(index, rest)| Some((index, rest.split_first_chunk::<32>()?)));
        let Some((index, (anchor, detail))) = parsed else {
            return Err(Error::damaged("the purge point", "it is too short"));
        };
        let index = u64::from_be_bytes(*index);
        self.anchor = *anchor;
        self.first = Some(index.saturating_add(1));
        self.purged = Some(PurgePoint { index, detail: detail.to_vec() });
        Ok(())
    }

    fn last_digest(&self) -> Digest {
        self.slots.back().map_or(self.anchor, |slot| slot.digest)
    }

    fn extent(&self) -> Option<Extent> {
        self.first.map(|first| Extent { first, end: self.range().end, last: self.last_digest() })
    }

    fn put_extent(&self, batch: &mut Batch) -> Result<(), Error> {
        match self.extent() {
            Some(extent) => batch.put(Kind::Extent.key(), record::seal_value(Kind::Extent, &extent.render())?),
            None => {
                batch.delete(Kind::Extent.key());
                Ok(())
            }
        }
    }
}

/// Where the log begins and ends.
#[derive(Debug, PartialEq, Eq)]
struct Extent {
    first: u64,
    end: u64,
    last: Digest,
}

impl Extent {
    fn render(&self) -> Vec<u8> {
        [self.first.to_be_bytes().as_slice(), &self.end.to_be_bytes(), &self.last].concat()
    }

    fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let parsed = bytes.split_first_chunk::<8>().and_then(|(first, rest)| {
            let (end, last) = rest.split_first_chunk::<8>()?;
            Some((u64::from_be_bytes(*first), u64::from_be_bytes(*end), Digest::try_from(last).ok()?))
        });
        let (first, end, last) = parsed.ok_or_else(|| Error::damaged("the extent of the log", "it is too short"))?;
        Ok(Self { first, end, last })
    }
}

/// A single value, opened.
///
/// # Errors
/// [`Error::Damaged`]; those of the backend.
pub(super) fn read_value(backend: &impl Backend, kind: Kind) -> Result<Option<Vec<u8>>, Error> {
    let key = kind.key();
    let mut after = key.clone();
    after.push(0);
    let mut payload = None;
    backend.scan(&key..&after, &mut |_, bytes| {
        payload = Some(record::open_value(kind, bytes)?.to_vec());
        Ok(())
    })?;
    Ok(payload)
}

fn delete_record(batch: &mut Batch, index: u64, slot: &Slot) {
    for chunk in 0..slot.chunks {
        batch.delete(record::record_key(index, chunk));
    }
}

fn slot_number(present: &Range<u64>, index: u64) -> usize {
    usize::try_from(index - present.start).unwrap_or(usize::MAX)
}

/// Puts the pieces of each record together and visits the whole ones.
fn visit_records(
    backend: &impl Backend,
    range: Range<u64>,
    mut visit: impl FnMut(record::OpenedRecord<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let (from, to) =
        if range == (0..u64::MAX) { record::all_records() } else { record::record_range(range.start, range.end) };
    let mut current: Option<(u64, u16, Vec<u8>)> = None;
    backend.scan(&from..&to, &mut |key, value| {
        let (index, chunk) = record::parse_record_key(key)?;
        match &mut current {
            Some((at, chunks, bytes)) if *at == index && *chunks == chunk => {
                bytes.extend_from_slice(value);
                *chunks += 1;
            }
            _ if chunk != 0 => {
                return Err(Error::damaged(format!("log record {index}"), "a piece of it is missing"));
            }
            _ => {
                if let Some((at, _, bytes)) = current.replace((index, 1, value.to_vec())) {
                    visit(record::open_record(at, &bytes)?)?;
                }
            }
        }
        Ok(())
    })?;
    match current {
        Some((at, _, bytes)) => visit(record::open_record(at, &bytes)?),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
