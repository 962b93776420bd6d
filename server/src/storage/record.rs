//! The bytes of what is stored: keys, sealed values and log records. Pure.
//!
//! Format 1 (2026-11, first release). All integers big-endian.
//!
//! ```text
//! value   = format:u8 kind:u8 length:u32 payload sha256(all before)
//! record  = format:u8 kind:u8 index:u64 previous:[u8;32] length:u32 payload sha256(all before)
//! keys      01 kind                 a sealed value
//!           02 index:u64 chunk:u16  a piece of a record
//! ```
//!
//! `previous` is the digest that ends the record before, so a swapped, missing or replayed record breaks the chain; the
//! digest also finds every flipped bit, which the engine's own checksums do not.

use std::ops::Range;

use sha2::{Digest as _, Sha256};

use super::Error;
use super::backend::VALUE_BYTES_MAX;

/// The number of the format described in the header of this file.
pub const FORMAT: u8 = 1;

/// The longest payload of one record, in bytes. One entry is one batch of commands: the batcher folds up to 256 KiB, and a
/// single command may be larger, up to this. More would hold up the heartbeats behind one fsync.
pub const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

/// A SHA-256 digest; all zero stands for "nothing before".
pub type Digest = [u8; 32];

const DIGEST_BYTES: usize = 32;
const VALUE_HEAD_BYTES: usize = 1 + 1 + 4;
const RECORD_HEAD_BYTES: usize = 1 + 1 + 8 + DIGEST_BYTES + 4;
const RECORD_KIND: u8 = 0x10;
const VALUE_KEYS: u8 = 0x01;
const RECORD_KEYS: u8 = 0x02;

/// The single values beside the log. The numbers are stored: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whose log this is.
    Identity = 1,
    /// Raft's vote.
    Vote = 2,
    /// How far the log was known to be committed; may lag.
    Committed = 3,
    /// The last purged record.
    Purged = 4,
    /// Where the log begins and ends, so that a missing first or last record is noticed.
    Extent = 5,
    /// The number of the last batch; see [`super::witness`].
    Batch = 6,
}

impl Kind {
    /// The key under which the value lies.
    #[must_use]
    pub fn key(self) -> Vec<u8> {
        vec![VALUE_KEYS, self as u8]
    }

    fn name(self) -> &'static str {
        match self {
            Self::Identity => "the log's identity",
            Self::Vote => "the vote",
            Self::Committed => "the committed position",
            Self::Purged => "the purge point",
            Self::Extent => "the extent of the log",
            Self::Batch => "the number of the last batch",
        }
    }
}

/// The first and the first-after key of all records with an index in `from..to`.
#[must_use]
pub fn record_range(from: u64, to: u64) -> (Vec<u8>, Vec<u8>) {
    (record_key(from, 0), record_key(to, 0))
}

/// The first and the first-after key of all records.
#[must_use]
pub fn all_records() -> (Vec<u8>, Vec<u8>) {
    (vec![RECORD_KEYS], vec![RECORD_KEYS + 1])
}

/// The first and the first-after key of everything that is stored.
#[must_use]
pub fn all_keys() -> Range<Vec<u8>> {
    vec![VALUE_KEYS]..vec![RECORD_KEYS + 1]
}

/// The key of one piece of a record.
#[must_use]
pub fn record_key(index: u64, chunk: u16) -> Vec<u8> {
    let mut key = Vec::with_capacity(11);
    key.push(RECORD_KEYS);
    key.extend_from_slice(&index.to_be_bytes());
    key.extend_from_slice(&chunk.to_be_bytes());
    key
}

/// The index and chunk of a record's key.
///
/// # Errors
/// [`Error::Damaged`] for a key this file does not make.
pub fn parse_record_key(key: &[u8]) -> Result<(u64, u16), Error> {
    let parsed = match key.split_first() {
        Some((&RECORD_KEYS, rest)) if rest.len() == 10 => rest.split_first_chunk::<8>(),
        _ => None,
    };
    let Some((index, [high, low])) = parsed else {
        return Err(Error::damaged("the log", "a key has a form that was never written"));
    };
    Ok((u64::from_be_bytes(*index), u16::from_be_bytes([*high, *low])))
}

/// Wraps a payload so that [`open_value`] can tell that it is whole and where it belongs.
///
/// # Errors
/// [`Error::TooLarge`] if the result would not fit one value of the backend.
pub fn seal_value(kind: Kind, payload: &[u8]) -> Result<Vec<u8>, Error> {
    let limit = VALUE_BYTES_MAX - VALUE_HEAD_BYTES - DIGEST_BYTES;
    let length = bounded_length(kind.name(), payload, limit)?;
    let mut bytes = Vec::with_capacity(VALUE_HEAD_BYTES + payload.len() + DIGEST_BYTES);
    bytes.extend_from_slice(&[FORMAT, kind as u8]);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(payload);
    finish(&mut bytes);
    Ok(bytes)
}

/// The payload of a sealed value.
///
/// # Errors
/// [`Error::Damaged`] or, if a later version wrote it, [`Error::Format`].
pub fn open_value(kind: Kind, bytes: &[u8]) -> Result<&[u8], Error> {
    let (body, _) = checked(kind.name(), bytes)?;
    match body.split_at_checked(VALUE_HEAD_BYTES) {
        Some((&[_, found, a, b, c, d], payload))
            if found == kind as u8 && u32::from_be_bytes([a, b, c, d]) as usize == payload.len() =>
        {
            Ok(payload)
        }
        _ => Err(Error::damaged(kind.name(), "its header does not fit it")),
    }
}

/// A log record as bytes, and the digest that the next one must name.
///
/// # Errors
/// [`Error::TooLarge`] above [`PAYLOAD_BYTES_MAX`].
pub fn seal_record(index: u64, previous: &Digest, payload: &[u8]) -> Result<(Vec<u8>, Digest), Error> {
    let length = bounded_length("a log record", payload, PAYLOAD_BYTES_MAX)?;
    let mut bytes = Vec::with_capacity(RECORD_HEAD_BYTES + payload.len() + DIGEST_BYTES);
    bytes.extend_from_slice(&[FORMAT, RECORD_KIND]);
    bytes.extend_from_slice(&index.to_be_bytes());
    bytes.extend_from_slice(previous);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(payload);
    let digest = finish(&mut bytes);
    Ok((bytes, digest))
}

/// A record that was read and found whole.
#[derive(Debug, PartialEq, Eq)]
pub struct OpenedRecord<'a> {
    /// Its position in the log.
    pub index: u64,
    /// The digest of the record before it.
    pub previous: Digest,
    /// Its own digest.
    pub digest: Digest,
    /// What it carries.
    pub payload: &'a [u8],
}

/// Reads a record that should be at `index`.
///
/// # Errors
/// [`Error::Damaged`] or, if a later version wrote it, [`Error::Format`].
pub fn open_record(index: u64, bytes: &[u8]) -> Result<OpenedRecord<'_>, Error> {
    let what = || format!("log record {index}");
    let (body, digest) = checked(&what(), bytes)?;
    let unfit = || Error::damaged(what(), "its header does not fit it");
    let (head, payload) = body.split_at_checked(RECORD_HEAD_BYTES).ok_or_else(unfit)?;
    let (kind, rest) = (head[1], &head[2..]);
    let (found, rest) = rest.split_first_chunk::<8>().ok_or_else(unfit)?;
    let (previous, rest) = rest.split_first_chunk::<DIGEST_BYTES>().ok_or_else(unfit)?;
    let length = rest.first_chunk::<4>().ok_or_else(unfit)?;
    let fits = kind == RECORD_KIND
        && u64::from_be_bytes(*found) == index
        && u32::from_be_bytes(*length) as usize == payload.len();
    if !fits {
        return Err(unfit());
    }
    Ok(OpenedRecord { index, previous: *previous, digest, payload })
}

/// Cuts a record into values that fit the backend, in order.
pub fn chunks(record: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    // PAYLOAD_BYTES_MAX / VALUE_BYTES_MAX is 256, so the numbers never reach the end of u16.
    (0_u16..).zip(record.chunks(VALUE_BYTES_MAX))
}

/// The size of the record that [`seal_record`] makes of such a payload.
#[must_use]
pub fn record_bytes(payload_bytes: usize) -> usize {
    RECORD_HEAD_BYTES + payload_bytes + DIGEST_BYTES
}

/// The number of values that [`chunks`] makes.
#[must_use]
pub fn chunk_count(record_bytes: usize) -> u16 {
    u16::try_from(record_bytes.div_ceil(VALUE_BYTES_MAX)).unwrap_or(u16::MAX)
}

fn bounded_length(what: &'static str, payload: &[u8], limit: usize) -> Result<u32, Error> {
    let bytes = payload.len();
    match u32::try_from(bytes) {
        Ok(length) if bytes <= limit => Ok(length),
        _ => Err(Error::TooLarge { what, bytes, limit }),
    }
}

fn finish(bytes: &mut Vec<u8>) -> Digest {
    let digest: Digest = Sha256::digest(&bytes).into();
    bytes.extend_from_slice(&digest);
    digest
}

/// Splits off the digest, verifies it, and only then looks at the format number.
fn checked<'a>(what: &str, bytes: &'a [u8]) -> Result<(&'a [u8], Digest), Error> {
    let Some((body, digest)) = bytes.split_last_chunk::<DIGEST_BYTES>() else {
        return Err(Error::damaged(what, "it is too short"));
    };
    if Digest::from(Sha256::digest(body)) != *digest {
        return Err(Error::damaged(what, "its checksum is wrong"));
    }
    match body.first() {
        Some(&FORMAT) => Ok((body, *digest)),
        Some(&found) => Err(Error::Format { what: what.to_owned(), found: found.into(), known: FORMAT.into() }),
        None => Err(Error::damaged(what, "it is empty")),
    }
}

#[cfg(test)]
mod tests;
