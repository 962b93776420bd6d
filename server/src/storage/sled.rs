//! sled as a byte store. No other file names it.
//!
//! What must be known of sled 0.34.7 to use it (each point was seen in its source or on a disk):
//! - `flush()` issues `sync_file_range`, not fsync: after it returns, a power cut loses everything. So [`Sled::sync`] calls
//!   `flush()` and then `sync_all()` on a handle of our own of its file. The handle is opened right after the database, so
//!   that it reports every writeback error since (Linux reports those once per open file).
//! - Its periodic flusher swallows errors of fsync: it is off.
//! - Pages above 128 KiB become files in `blobs/` that are never fsynced; see `VALUE_BYTES_MAX`. Should one appear all the
//!   same, it is fsynced before the database is.
//! - A half-written `snap.*.generating`, left by a crash while it opened, is later taken for a snapshot and makes every
//!   further open fail. They are leftovers by definition and are removed before opening.
//! - Opening renames a new snapshot of its index into place and removes the old one, and synchronises neither. A power cut
//!   brings the old one back, and once segments of the file that it points to were used again, all reads of them fail. So
//!   the directory is fsynced before anything is written.
//! - Dropping the database does not close its file: a job of its thread pool may hold it, and its lock, a moment longer, so
//!   that opening again at once fails now and then. [`Sled`] waits for the lock when it is dropped.
//! - `apply_batch` is atomic for one tree: everything lies in the default tree.

use std::fs::{self, File, TryLockError};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Error;
use super::backend::{Backend, Batch, Visit};
use super::directory::sync_directory;

/// Page cache in bytes. The log is read once at start and by lagging peers; live data is megabytes.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// How long closing waits for sled's thread pool to let go of the file; milliseconds were seen.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(10);

/// An open sled database and the handle that makes it durable.
pub struct Sled {
    /// `None` once it is closed.
    database: Option<::sled::Db>,
    file: File,
    blobs: PathBuf,
}

impl Sled {
    /// Opens the database in `directory`, or creates it there.
    ///
    /// # Errors
    /// [`Error::Engine`] if it is locked or damaged, [`Error::Io`].
    pub fn open(directory: &Path) -> Result<Self, Error> {
        remove_unfinished_snapshots(directory)?;
        let database = ::sled::Config::new()
            .path(directory)
            .mode(::sled::Mode::LowSpace)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .use_compression(false)
            .open()
            .map_err(Error::engine("open the database"))?;
        let path = directory.join("db");
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        sync_directory(directory)?;
        Ok(Self { database: Some(database), file, blobs: directory.join("blobs") })
    }

    fn database(&self) -> Result<&::sled::Db, Error> {
        self.database.as_ref().ok_or(Error::Closed)
    }

    fn let_go(&mut self) {
        self.database = None;
        // The lock belongs to sled's handle, so ours gets it only once sled's is closed; ours is closed right after.
        let started = Instant::now();
        while matches!(self.file.try_lock(), Err(TryLockError::WouldBlock)) {
            if started.elapsed() > CLOSE_WAIT_MAX {
                tracing::warn!("the log's engine did not let go of its file");
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn sync_blobs(&self) -> Result<(), Error> {
        let mut found = false;
        for entry in fs::read_dir(&self.blobs).map_err(Error::io("list", &self.blobs))? {
            let path = entry.map_err(Error::io("list", &self.blobs))?.path();
            match File::open(&path) {
                Ok(blob) => blob.sync_all().map_err(Error::io("fsync", &path))?,
                // sled deletes blobs on its own when their page is written anew.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::io("open", &path)(error)),
            }
            found = true;
        }
        if found {
            tracing::error!("the log's engine wrote a page to a file of its own, which the size limits should prevent");
            sync_directory(&self.blobs)?;
        }
        Ok(())
    }
}

impl Backend for Sled {
    fn write(&mut self, batch: &Batch) -> Result<(), Error> {
        let mut writes = ::sled::Batch::default();
        for (key, value) in batch.iter() {
            match value {
                Some(value) => writes.insert(key, value),
                None => writes.remove(key),
            }
        }
        self.database()?.apply_batch(writes).map_err(Error::engine("write"))
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.database()?.flush().map_err(Error::engine("flush"))?;
        self.sync_blobs()?;
        if cfg!(feature = "planted-bug-no-fsync") {
            return Ok(());
        }
        // With the size, but without the times of the file: those would cost a commit of the file system's journal each time.
        self.file.sync_data().map_err(Error::engine("fsync"))
    }

    fn scan(&self, range: Range<&[u8]>, visit: &mut Visit<'_>) -> Result<(), Error> {
        for pair in self.database()?.range(range) {
            let (key, value) = pair.map_err(Error::engine("read"))?;
            visit(&key, &value)?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        self.sync()?;
        self.let_go();
        // sled writes once more while it is dropped; an error of that is reported to every handle that was open.
        self.file.sync_all().map_err(Error::engine("fsync"))
    }
}

impl Drop for Sled {
    fn drop(&mut self) {
        self.let_go();
    }
}

fn remove_unfinished_snapshots(directory: &Path) -> Result<(), Error> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry.map_err(Error::io("list", directory))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
