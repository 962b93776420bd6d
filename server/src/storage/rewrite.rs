//! Writes a log anew, pair by pair: into the files of another engine, or into fresh ones of the same once the old take far
//! more disk than what lives in them.
//!
//! The old log stays live until the new one is whole and durable, so that a crash at any moment costs nothing; see
//! [`DataDirectory::replace_log`]. What is damaged is refused, never copied.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::Error;
use super::backend::{Backend, Batch};
use super::directory::DataDirectory;
use super::durable::last_batch;
use super::engine::Engine;
use super::log::Log;
use super::record;
use super::witness::Witness;

/// Disk that a log may take per byte that lives in it. Both engines keep room for what comes next; ten times is what a
/// server never needs and a small disk still has.
pub const GROWTH_MAX: u64 = 10;

/// Disk that a log may take beside that, in bytes: below it there is nothing worth a start that takes longer.
pub const SLACK_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes in one batch of copying, about: a batch is held in memory.
const BATCH_BYTES: usize = 1024 * 1024;

/// A block as the operating system counts them, in bytes, whatever the file system's own size.
const BLOCK_BYTES: u64 = 512;

/// What [`convert`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Converted {
    /// The engine that kept the log.
    pub from: Engine,
    /// Bytes that live in the log.
    pub live_bytes: u64,
}

/// Moves the log of a server that does not run to another engine. Does nothing if that engine keeps it already.
///
/// # Errors
/// [`Error::NoLog`], [`Error::Locked`] while the server runs, [`Error::Damaged`], [`Error::Io`], and those of both engines.
pub fn convert(data_dir: &Path, to: Engine) -> Result<Converted, Error> {
    let none = || Error::NoLog { directory: data_dir.to_owned() };
    if !data_dir.is_dir() {
        return Err(none());
    }
    let directory = DataDirectory::open(data_dir)?;
    let from = directory.engine()?.ok_or_else(none)?;
    let source = from.open(&directory.live_log(from, |_| Err(none()))?)?;
    Witness::open(directory.witness(), last_batch(&source)?)?;
    let live_bytes = live_bytes(&*source)?;
    if from != to {
        rewrite(&directory, source, to)?;
    }
    Ok(Converted { from, live_bytes })
}

/// Writes the log anew if its files have grown far beyond what lives in them, and gives it back opened.
///
/// # Errors
/// [`Error::Damaged`], [`Error::Io`], and those of the engine.
pub(super) fn compacted(
    directory: &DataDirectory,
    engine: Engine,
    path: &Path,
    backend: Box<dyn Backend>,
) -> Result<Box<dyn Backend>, Error> {
    let disk = disk_bytes(path)?;
    // Asked first, because counting what lives reads all of it.
    if disk <= SLACK_BYTES {
        return Ok(backend);
    }
    let live = live_bytes(&*backend)?;
    if disk <= live.saturating_mul(GROWTH_MAX).saturating_add(SLACK_BYTES) {
        return Ok(backend);
    }
    tracing::info!(%engine, disk, live, "the log takes far more disk than what lives in it and is written anew");
    rewrite(directory, backend, engine)?;
    engine.open(&directory.live_log(engine, |_| Err(Error::NoLog { directory: path.to_owned() }))?)
}

/// Makes a log that `to` keeps out of what is in `source`, verified before and after, and makes it the live one.
fn rewrite(directory: &DataDirectory, mut source: Box<dyn Backend>, to: Engine) -> Result<(), Error> {
    Log::open(&source)?;
    directory.replace_log(to, move |path| {
        let mut target = to.open(path)?;
        copy(&*source, &mut *target)?;
        if digest(&*source)? != digest(&*target)? {
            return Err(Error::damaged("the log", format!("{to} does not give back what was written to it")));
        }
        target.close()?;
        source.close()
    })?;
    Ok(())
}

fn copy(source: &dyn Backend, target: &mut dyn Backend) -> Result<(), Error> {
    let (mut batch, mut bytes) = (Batch::default(), 0);
    scan_all(source, |key, value| {
        batch.put(key.to_vec(), value.to_vec())?;
        bytes += value.len();
        if bytes >= BATCH_BYTES {
            target.write(&std::mem::take(&mut batch))?;
            bytes = 0;
        }
        Ok(())
    })?;
    target.write(&batch)?;
    target.sync()
}

/// A digest of all pairs in order.
fn digest(backend: &dyn Backend) -> Result<record::Digest, Error> {
    let mut digest = Sha256::new();
    scan_all(backend, |key, value| {
        for part in [key, value] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Ok(())
    })?;
    Ok(digest.finalize().into())
}

fn live_bytes(backend: &dyn Backend) -> Result<u64, Error> {
    let mut bytes = 0;
    scan_all(backend, |key, value| {
        bytes += (key.len() + value.len()) as u64;
        Ok(())
    })?;
    Ok(bytes)
}

fn scan_all(backend: &dyn Backend, mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), Error>) -> Result<(), Error> {
    let Range { start, end } = record::all_keys();
    backend.scan(&start..&end, &mut visit)
}

/// Bytes that the files below `path` take on disk.
fn disk_bytes(path: &Path) -> Result<u64, Error> {
    let mut bytes = 0;
    for entry in fs::read_dir(path).map_err(Error::io("list", path))? {
        let entry = entry.map_err(Error::io("list", path))?.path();
        bytes += match fs::symlink_metadata(&entry) {
            Ok(status) if status.is_dir() => disk_bytes(&entry)?,
            Ok(status) => status.blocks() * BLOCK_BYTES,
            // An engine tidies up on its own threads.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
            Err(error) => return Err(Error::io("look at", &entry)(error)),
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
