//! The data directory: who owns it, which log is live, and files that are either whole or not there.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::Error;
use super::engine::Engine;

/// The newest layout known here. 1 (2026-11, first release): as in the header of [`super`], and sled keeps the log, named or
/// not. 2 (2026-11): the same, and the engine that the marker names keeps it; written only for others than sled, so that a
/// program that knows sled alone goes on with its own and refuses what it could not read.
const FORMAT: u32 = 2;
const MARKER: &str = "CURRENT";
const LOCK: &str = "LOCK";
const GENERATION: &str = "GENERATION";
const GENERATION_PREFIX: &str = "muster generation ";
const LOG_PREFIX: &str = "log-";
/// Suffix of a directory or file that is not finished: whatever carries it may be removed.
const UNFINISHED: &str = ".new";
/// A marker is three short lines, a lock file one; more is not ours.
const SMALL_FILE_BYTES_MAX: u64 = 4096;

/// A data directory that this process owns until the value is dropped.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    /// Keeps the lock; the kernel gives it up when the process ends, however it ends.
    _lock: File,
}

impl DataDirectory {
    /// Creates the directory if need be (mode 0700) and locks it for this process.
    ///
    /// # Errors
    /// [`Error::Locked`] with the directory and the owner's pid, [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        if !path.exists() {
            create_directory(path)?;
        }
        let lock_path = path.join(LOCK);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(Error::io("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked { directory: path.to_owned(), holder: holder(&mut lock) });
            }
            Err(TryLockError::Error(source)) => return Err(Error::io("lock", &lock_path)(source)),
        }
        write_pid(&mut lock).map_err(Error::io("write", &lock_path))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Whether a server's log was made in `path`: it was in use, and is no fresh directory.
    #[must_use]
    pub fn was_used(path: &Path) -> bool {
        path.join(MARKER).exists()
    }

    /// Where snapshots lie; created when missing.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn snapshots(&self) -> Result<PathBuf, Error> {
        let path = self.path.join("snapshots");
        if !path.exists() {
            create_directory(&path)?;
        }
        Ok(path)
    }

    /// Where the witness of the log lies.
    #[must_use]
    pub fn witness(&self) -> PathBuf {
        self.path.join("WITNESS")
    }

    /// Counts this start and gives its number: more than that of any start before, and at least `at_least`. Durable on return, so
    /// that no two starts ever have the same.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the count cannot be read, [`Error::Io`].
    pub fn next_generation(&self, at_least: u64) -> Result<u64, Error> {
        let path = self.path.join(GENERATION);
        let before = if path.exists() {
            let text = read_small(&path)?;
            let number = text.strip_prefix(GENERATION_PREFIX).and_then(|rest| rest.strip_suffix('\n'));
            let number = number.and_then(|digits| digits.parse::<u64>().ok());
            number.ok_or_else(|| Error::damaged(path.display().to_string(), "it is not a count of starts"))?
        } else {
            0
        };
        let generation = before.saturating_add(1).max(at_least);
        replace_file(&path, format!("{GENERATION_PREFIX}{generation}\n").as_bytes())?;
        Ok(generation)
    }

    /// The live log, which `engine` must keep. On a fresh data directory `create` is called with an empty directory to fill;
    /// only when all it made is durable does the log become live.
    ///
    /// # Errors
    /// [`Error::OtherEngine`], [`Error::Damaged`] if the marker and the directories contradict each other, [`Error::Format`],
    /// [`Error::Io`], and those of `create`.
    pub fn live_log(&self, engine: Engine, create: impl FnOnce(&Path) -> Result<(), Error>) -> Result<PathBuf, Error> {
        if self.engine()?.is_none() {
            self.refuse_orphans()?;
            self.make_log(&Marker { log: format!("{LOG_PREFIX}000001"), engine }, create)?;
        }
        let marker = self.marker()?;
        if marker.engine != engine {
            let (directory, found) = (self.path.clone(), marker.engine);
            return Err(Error::OtherEngine { directory, found, expected: engine });
        }
        self.finish_log(&marker.log)
    }

    /// Which engine keeps the live log; `None` if there is no log yet.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Format`], [`Error::Io`].
    pub fn engine(&self) -> Result<Option<Engine>, Error> {
        Ok(Marker::read(&self.path.join(MARKER))?.map(|marker| marker.engine))
    }

    /// Replaces the live log by a new one that `create` fills and `engine` keeps, and removes the old one. A crash at any
    /// moment leaves the old one live or the new one.
    ///
    /// # Errors
    /// As [`DataDirectory::live_log`].
    pub fn replace_log(
        &self,
        engine: Engine,
        create: impl FnOnce(&Path) -> Result<(), Error>,
    ) -> Result<PathBuf, Error> {
        let old = self.marker()?.log;
        let number = old.strip_prefix(LOG_PREFIX).and_then(|digits| digits.parse::<u32>().ok());
        let log = format!("{LOG_PREFIX}{:06}", number.unwrap_or(0).wrapping_add(1) % 1_000_000);
        self.make_log(&Marker { log: log.clone(), engine }, create)?;
        self.finish_log(&log)
    }

    /// Fills `<name>.new`, makes it durable, then points the marker at `<name>`: from then on it counts.
    fn make_log(&self, marker: &Marker, create: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
        let unfinished = self.path.join(format!("{}{UNFINISHED}", marker.log));
        remove_tree(&unfinished)?;
        create_directory(&unfinished)?;
        create(&unfinished)?;
        sync_tree(&unfinished)?;
        sync_directory(&self.path)?;
        replace_file(&self.path.join(MARKER), marker.render().as_bytes())
    }

    /// Gives a log that the marker names its final name, if the server died before it could; clears leftovers.
    fn finish_log(&self, name: &str) -> Result<PathBuf, Error> {
        let live = self.path.join(name);
        let unfinished = self.path.join(format!("{name}{UNFINISHED}"));
        if !live.exists() {
            if !unfinished.exists() {
                return Err(Error::damaged(MARKER, format!("it names {name}, which is not there")));
            }
            fs::rename(&unfinished, &live).map_err(Error::io("rename", &unfinished))?;
            sync_directory(&self.path)?;
        }
        for leftover in self.logs()?.iter().filter(|found| found.as_str() != name) {
            remove_tree(&self.path.join(leftover))?;
        }
        Ok(live)
    }

    fn marker(&self) -> Result<Marker, Error> {
        Marker::read(&self.path.join(MARKER))?.ok_or_else(|| Error::damaged(MARKER, "it is missing"))
    }

    /// A finished log without a marker was in use: the marker was lost, and starting afresh would forget votes and entries.
    fn refuse_orphans(&self) -> Result<(), Error> {
        match self.logs()?.into_iter().find(|name| is_log_name(name)) {
            Some(name) => Err(Error::damaged(
                self.path.display().to_string(),
                format!("{name} is there, but {MARKER} is missing"),
            )),
            None => Ok(()),
        }
    }

    fn logs(&self) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(Error::io("list", &self.path))? {
            let name = entry.map_err(Error::io("list", &self.path))?.file_name().to_string_lossy().into_owned();
            if is_log_name(name.trim_end_matches(UNFINISHED)) {
                names.push(name);
            }
        }
        Ok(names)
    }
}

/// What the marker says.
struct Marker {
    log: String,
    engine: Engine,
}

impl Marker {
    fn render(&self) -> String {
        let format = if self.engine == Engine::Sled { 1 } else { FORMAT };
        format!("muster data {format}\nlog {}\nengine {}\n", self.log, self.engine)
    }

    fn read(path: &Path) -> Result<Option<Self>, Error> {
        if !path.exists() {
            return Ok(None);
        }
        let text = read_small(path)?;
        let wrong = |detail| Error::damaged(path.display().to_string(), detail);
        let mut lines = text.lines();
        let format = lines.next().and_then(|line| line.strip_prefix("muster data ")).and_then(|n| n.parse().ok());
        let format: u32 = format.ok_or_else(|| wrong("it is not a marker"))?;
        if !(1..=FORMAT).contains(&format) {
            return Err(Error::Format { what: MARKER.to_owned(), found: format, known: FORMAT });
        }
        let log = lines.next().and_then(|line| line.strip_prefix("log ")).filter(|name| is_log_name(name));
        let log = log.ok_or_else(|| wrong("it names no log"))?.to_owned();
        let engine = lines.next().and_then(|line| line.strip_prefix("engine "));
        let engine = match (format, engine) {
            (1, None) => Some(Engine::Sled),
            (_, name) => name.and_then(Engine::of_name),
        };
        Ok(Some(Self { log, engine: engine.ok_or_else(|| wrong("it names no engine that is known here"))? }))
    }
}

fn is_log_name(name: &str) -> bool {
    name.strip_prefix(LOG_PREFIX)
        .is_some_and(|digits| digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    let read = lock.take(SMALL_FILE_BYTES_MAX).read_to_string(&mut text);
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => format!("process {pid}"),
        _ => "another process".to_owned(),
    }
}

fn write_pid(lock: &mut File) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

fn read_small(path: &Path) -> Result<String, Error> {
    let mut text = String::new();
    let file = File::open(path).map_err(Error::io("open", path))?;
    file.take(SMALL_FILE_BYTES_MAX).read_to_string(&mut text).map_err(Error::io("read", path))?;
    Ok(text)
}

fn create_directory(path: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::io("create", path))?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
        _ => Ok(()),
    }
}

fn remove_tree(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Makes the entries of a directory durable: a file that was fsynced can still vanish with its name.
pub(super) fn sync_directory(path: &Path) -> Result<(), Error> {
    if cfg!(feature = "planted-bug-no-directory-fsync") {
        return Ok(());
    }
    let directory = File::open(path).map_err(Error::io("open", path))?;
    directory.sync_all().map_err(Error::io("fsync", path))
}

fn sync_tree(path: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(path).map_err(Error::io("list", path))? {
        let entry = entry.map_err(Error::io("list", path))?.path();
        if entry.is_dir() {
            sync_tree(&entry)?;
        } else {
            let file = File::open(&entry).map_err(Error::io("open", &entry))?;
            file.sync_all().map_err(Error::io("fsync", &entry))?;
        }
    }
    sync_directory(path)
}

/// Writes a file so that after a crash either the old or the new one is there, whole (mode 0600).
///
/// # Errors
/// [`Error::Io`]; then the old one is still there.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(UNFINISHED);
    let unfinished = path.with_file_name(name);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(Error::io("create", &unfinished))?;
    file.write_all(bytes).map_err(Error::io("write", &unfinished))?;
    file.sync_all().map_err(Error::io("fsync", &unfinished))?;
    fs::rename(&unfinished, path).map_err(Error::io("rename", &unfinished))?;
    match path.parent() {
        Some(parent) => sync_directory(parent),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
