//! The file of a backup.
//!
//! Format 1 (2026-11). All integers big-endian:
//!
//! ```text
//! "MUSTBKUP" format:u32
//! length:u32 lock          the public half of its key pair, the private half under the operator's key
//! length:u32 header        of the archive
//! (length:u32 chunk)…      of the archive
//! 0:u32
//! sha256(all before)       tells a bad copy without the key
//! ```

use std::io::Write;
use std::ops::Range;
use std::path::Path;

use muster_trust::sealing::SealingPrivateKey;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::BackupError;
use super::archive::{ARCHIVE_BYTES_MAX, Contents, HEADER_BYTES_MAX, Head, Opening, SEALED_CHUNK_BYTES_MAX};
use super::key::{BackupKey, LOCK_BYTES_MAX, Lock};

/// The number of the format described in the header of this file.
pub const FORMAT: u32 = 1;
const MAGIC: &[u8; 8] = b"MUSTBKUP";
const DIGEST_BYTES: usize = 32;

/// A backup being written. Every part is opened before it is kept, so that what was written is known to open; the
/// plaintext is dropped at once.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    digest: Sha256,
    private: SealingPrivateKey,
    opening: Option<Opening>,
    bytes: u64,
}

impl<W: Write> Writer<W> {
    /// Writes the beginning. The key pair is made anew for each backup.
    ///
    /// # Errors
    /// [`BackupError::Io`], [`BackupError::Seal`].
    pub fn new(out: W, key: &BackupKey, private: SealingPrivateKey) -> Result<Self, BackupError> {
        let lock = key.lock(&private)?;
        let mut writer = Self { out, digest: Sha256::new(), private, opening: None, bytes: 0 };
        writer.put(MAGIC)?;
        writer.put(&FORMAT.to_be_bytes())?;
        writer.put_part(&lock.to_bytes())?;
        Ok(writer)
    }

    /// The archive's header, which comes first.
    ///
    /// # Errors
    /// If it was not sealed to this backup's key, or it comes twice.
    pub fn header(&mut self, header: &[u8]) -> Result<Head, BackupError> {
        if self.opening.is_some() || header.len() > HEADER_BYTES_MAX {
            return Err(BackupError::Altered { part: 0 });
        }
        let opening = Opening::new(&self.private, header)?;
        let head = opening.head().clone();
        self.opening = Some(opening);
        self.put_part(header).map(|()| head)
    }

    /// The archive's next chunk.
    ///
    /// # Errors
    /// [`BackupError::Altered`] unless it is the next one.
    pub fn chunk(&mut self, chunk: &[u8]) -> Result<(), BackupError> {
        let opening = self.opening.as_mut().ok_or(BackupError::Altered { part: 0 })?;
        drop(opening.open(chunk)?);
        self.put_part(chunk)
    }

    /// Writes the end and gives back where it was written to, and how many bytes it is.
    ///
    /// # Errors
    /// [`BackupError::Incomplete`] if the archive's last chunk has not come.
    pub fn finish(mut self) -> Result<(W, u64), BackupError> {
        if !self.opening.as_ref().is_some_and(Opening::is_complete) {
            return Err(BackupError::Incomplete);
        }
        self.put(&0_u32.to_be_bytes())?;
        let digest = self.digest.finalize();
        self.out.write_all(&digest)?;
        self.out.flush()?;
        Ok((self.out, self.bytes + DIGEST_BYTES as u64))
    }

    fn put_part(&mut self, part: &[u8]) -> Result<(), BackupError> {
        let length = u32::try_from(part.len()).map_err(|_| BackupError::TooLarge { limit: ARCHIVE_BYTES_MAX })?;
        self.put(&length.to_be_bytes())?;
        self.put(part)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.bytes += bytes.len() as u64;
        if self.bytes > ARCHIVE_BYTES_MAX {
            return Err(BackupError::TooLarge { limit: ARCHIVE_BYTES_MAX });
        }
        self.digest.update(bytes);
        self.out.write_all(bytes).map_err(BackupError::Io)
    }
}

/// A backup as it was read: whole, and closed.
#[derive(Debug)]
pub struct BackupFile {
    bytes: Vec<u8>,
    lock: Lock,
    header: Range<usize>,
    chunks: Vec<Range<usize>>,
    head: Head,
}

impl BackupFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`BackupError`]: not a backup, cut off, damaged, of a newer version.
    pub fn read(path: &Path) -> Result<Self, BackupError> {
        let file = std::fs::File::open(path)?;
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::Read::take(file, ARCHIVE_BYTES_MAX + 1), &mut bytes)?;
        if bytes.len() as u64 > ARCHIVE_BYTES_MAX {
            return Err(BackupError::TooLarge { limit: ARCHIVE_BYTES_MAX });
        }
        Self::parse(bytes)
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// As [`BackupFile::read`].
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BackupError> {
        let parts = parts(&bytes)?;
        let (body, digest) = bytes.split_last_chunk::<DIGEST_BYTES>().ok_or(BackupError::NotABackup)?;
        if <[u8; DIGEST_BYTES]>::from(Sha256::digest(body)) != *digest {
            return Err(BackupError::Damaged);
        }
        let lock = Lock::from_bytes(&bytes[parts.lock])?;
        let head = Head::of_header(&bytes[parts.header.clone()])?;
        Ok(Self { bytes, lock, header: parts.header, chunks: parts.chunks, head })
    }

    /// What is known without its key.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Its length.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Opens it. With a passphrase it takes a third of a second.
    ///
    /// # Errors
    /// [`BackupError`]: the wrong key, altered, or of contents that this version can't use.
    pub fn open(&self, key: &BackupKey) -> Result<Contents, BackupError> {
        let private = key.unlock(&self.lock)?;
        let mut opening = Opening::new(&private, &self.bytes[self.header.clone()])?;
        // Room for all of it from the start: growing would leave copies behind.
        let mut plain = Zeroizing::new(Vec::with_capacity(self.bytes.len()));
        for chunk in &self.chunks {
            plain.extend_from_slice(&opening.open(&self.bytes[chunk.clone()])?);
        }
        if !opening.is_complete() {
            return Err(BackupError::Altered { part: self.chunks.len() as u64 });
        }
        Contents::parse(self.head.clone(), &plain)
    }
}

struct Parts {
    lock: Range<usize>,
    header: Range<usize>,
    chunks: Vec<Range<usize>>,
}

/// Where the parts lie. A file that ends before its end mark was cut off; what follows from lengths that are no parts' is
/// left to the checksum.
fn parts(bytes: &[u8]) -> Result<Parts, BackupError> {
    let head = bytes.split_first_chunk::<8>().filter(|(magic, _)| *magic == MAGIC);
    let Some((_, rest)) = head else {
        let is_cut = bytes.len() < MAGIC.len() && MAGIC.starts_with(bytes) && !bytes.is_empty();
        return Err(if is_cut { BackupError::Truncated { bytes: bytes.len() } } else { BackupError::NotABackup });
    };
    let truncated = || BackupError::Truncated { bytes: bytes.len() };
    let (format, _) = rest.split_first_chunk::<4>().ok_or_else(truncated)?;
    match u32::from_be_bytes(*format) {
        FORMAT => {}
        found => return Err(BackupError::Format { found }),
    }
    let mut at = MAGIC.len() + 4;
    let mut next = |longest: usize| -> Result<Range<usize>, BackupError> {
        let length = bytes.get(at..at + 4).and_then(|field| field.first_chunk::<4>()).ok_or_else(truncated)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| BackupError::Damaged)?;
        if length > longest {
            return Err(BackupError::Damaged);
        }
        let part = at + 4..at + 4 + length;
        at = part.end;
        if part.end > bytes.len() { Err(truncated()) } else { Ok(part) }
    };
    let (lock, header) = (next(LOCK_BYTES_MAX)?, next(HEADER_BYTES_MAX)?);
    let mut chunks = Vec::new();
    let end = loop {
        let part = next(SEALED_CHUNK_BYTES_MAX)?;
        if part.is_empty() {
            break part.end;
        }
        chunks.push(part);
    };
    match bytes.len() - end {
        DIGEST_BYTES => Ok(Parts { lock, header, chunks }),
        rest if rest < DIGEST_BYTES => Err(truncated()),
        _ => Err(BackupError::Damaged),
    }
}

#[cfg(test)]
mod tests;
