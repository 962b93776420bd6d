//! Snapshots: one file each, whole or not there, the newest two kept.
//!
//! Format 1 (2026-11, first release). All integers big-endian; the name carries the index so that a listing tells the order.
//!
//! ```text
//! snapshot-<index>.muster = "MUSTSNAP" format:u32 index:u64 meta-length:u32 state-length:u64 meta state sha256(all before)
//! ```
//!
//! `meta` (Raft's log id and membership) and `state` are opaque here. The second newest is kept because a damaged newest is
//! never served: with a log that reaches back to the older one, nothing is lost.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::Error;
use super::directory::replace_file;
use super::error::chain;

/// The number of the format described in the header of this file.
pub const FORMAT: u32 = 1;

/// Snapshots that are kept.
pub const KEPT: usize = 2;

/// The largest file that is read, in bytes. State is megabytes; the bound keeps a foreign file out of memory.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

const MAGIC: &[u8; 8] = b"MUSTSNAP";
const HEAD_BYTES: usize = 8 + 4 + 8 + 4 + 8;
const DIGEST_BYTES: usize = 32;
const PREFIX: &str = "snapshot-";
const SUFFIX: &str = ".muster";

/// A snapshot as it was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Index of the last log record it includes.
    pub index: u64,
    /// What Raft must know of it.
    pub meta: Vec<u8>,
    /// The state.
    pub state: Vec<u8>,
}

/// The snapshots of one server. Calls block on the disk.
#[derive(Clone, Debug)]
pub struct Snapshots {
    directory: PathBuf,
}

impl Snapshots {
    /// Opens the directory and removes what a crash left unfinished there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(directory: PathBuf) -> Result<Self, Error> {
        let snapshots = Self { directory };
        for name in snapshots.names()? {
            if name.ends_with(".new") {
                snapshots.remove(&name)?;
            }
        }
        Ok(snapshots)
    }

    /// Saves a snapshot durably, then removes all but the newest [`KEPT`].
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::TooLarge`] above [`FILE_BYTES_MAX`].
    pub fn save(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let bytes = render(snapshot)?;
        replace_file(&self.directory.join(file_name(snapshot.index)), &bytes)?;
        for index in self.indices()?.into_iter().rev().skip(KEPT) {
            self.remove(&file_name(index))?;
        }
        Ok(())
    }

    /// The newest snapshot that is whole, given where the log begins. A damaged one is reported and passed over.
    ///
    /// # Errors
    /// [`Error::Damaged`] if records after the best snapshot were purged, so that state cannot be rebuilt; [`Error::Io`].
    pub fn newest(&self, purged: Option<u64>) -> Result<Option<Snapshot>, Error> {
        let mut reason = "there is none".to_owned();
        for index in self.indices()?.into_iter().rev() {
            match self.read(index) {
                Ok(snapshot) if purged.is_none_or(|purged| index >= purged) => {
                    return Ok(Some(snapshot));
                }
                Ok(_) => break,
                Err(error @ (Error::Damaged { .. } | Error::TooLarge { .. })) => {
                    reason = chain(&error);
                    tracing::error!(index, reason, "a snapshot is damaged and is not used");
                }
                Err(error) => return Err(error),
            }
        }
        match purged {
            None => Ok(None),
            Some(purged) => Err(Error::damaged(
                self.directory.display().to_string(),
                format!(
                    "the log begins after record {purged} and needs a whole snapshot that reaches it, but {reason}"
                ),
            )),
        }
    }

    /// Index of the older of the kept snapshots, to which the log must reach back so that it can stand in for the newest.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn fallback(&self) -> Result<Option<u64>, Error> {
        let indices = self.indices()?;
        Ok(indices.len().checked_sub(KEPT).and_then(|oldest| indices.get(oldest)).copied())
    }

    fn read(&self, index: u64) -> Result<Snapshot, Error> {
        let path = self.directory.join(file_name(index));
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(Error::io("read", &path))?;
        parse(&path, index, bytes)
    }

    fn indices(&self) -> Result<Vec<u64>, Error> {
        let mut indices: Vec<u64> = self.names()?.iter().filter_map(|name| index_of(name)).collect();
        indices.sort_unstable();
        Ok(indices)
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let list = Error::io("list", &self.directory);
        let entries = fs::read_dir(&self.directory).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(list)?;
        Ok(entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.directory.join(name);
        fs::remove_file(&path).map_err(Error::io("remove", &path))
    }
}

fn file_name(index: u64) -> String {
    format!("{PREFIX}{index:020}{SUFFIX}")
}

fn index_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

fn render(snapshot: &Snapshot) -> Result<Vec<u8>, Error> {
    let length = HEAD_BYTES + snapshot.meta.len() + snapshot.state.len() + DIGEST_BYTES;
    let meta_length = u32::try_from(snapshot.meta.len()).ok().filter(|_| length as u64 <= FILE_BYTES_MAX);
    let Some(meta_length) = meta_length else {
        let limit = usize::try_from(FILE_BYTES_MAX).unwrap_or(usize::MAX);
        return Err(Error::TooLarge { what: "a snapshot", bytes: length, limit });
    };
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT.to_be_bytes());
    bytes.extend_from_slice(&snapshot.index.to_be_bytes());
    bytes.extend_from_slice(&meta_length.to_be_bytes());
    bytes.extend_from_slice(&(snapshot.state.len() as u64).to_be_bytes());
    bytes.extend_from_slice(&snapshot.meta);
    bytes.extend_from_slice(&snapshot.state);
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    Ok(bytes)
}

fn parse(path: &Path, index: u64, mut bytes: Vec<u8>) -> Result<Snapshot, Error> {
    let what = path.display().to_string();
    let Some((body, digest)) = bytes.split_last_chunk::<DIGEST_BYTES>() else {
        return Err(Error::damaged(what, "it is too short"));
    };
    if <[u8; DIGEST_BYTES]>::from(Sha256::digest(body)) != *digest {
        return Err(Error::damaged(what, "its checksum is wrong"));
    }
    let Some(head) = Head::parse(body) else {
        return Err(Error::damaged(what, "it is not a snapshot"));
    };
    if head.format != FORMAT {
        return Err(Error::Format { what, found: head.format, known: FORMAT });
    }
    let lengths = head.meta_length.checked_add(head.state_length);
    if head.index != index || lengths != Some(body.len() - HEAD_BYTES) {
        return Err(Error::damaged(what, "its header does not fit it"));
    }
    bytes.truncate(bytes.len() - DIGEST_BYTES);
    let state = bytes.split_off(HEAD_BYTES + head.meta_length);
    let meta = bytes.split_off(HEAD_BYTES);
    Ok(Snapshot { index, meta, state })
}

struct Head {
    format: u32,
    index: u64,
    meta_length: usize,
    state_length: usize,
}

impl Head {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<8>()?;
        let (format, rest) = rest.split_first_chunk::<4>()?;
        let (index, rest) = rest.split_first_chunk::<8>()?;
        let (meta_length, rest) = rest.split_first_chunk::<4>()?;
        let (state_length, _) = rest.split_first_chunk::<8>()?;
        (magic == MAGIC).then_some(Self {
            format: u32::from_be_bytes(*format),
            index: u64::from_be_bytes(*index),
            meta_length: usize::try_from(u32::from_be_bytes(*meta_length)).ok()?,
            state_length: usize::try_from(u64::from_be_bytes(*state_length)).ok()?,
        })
    }
}

#[cfg(test)]
mod tests;
