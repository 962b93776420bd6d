//! One error for all of storage: each says what was being done to which file.

use std::io;
use std::path::{Path, PathBuf};

use super::engine::Engine;

/// Why storage could not do what was asked. None of these may be retried: see the module's header.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another live process owns the data directory.
    #[error("data directory {} is in use by {holder}: only one server may run on it", directory.display())]
    Locked {
        /// The directory that was asked for.
        directory: PathBuf,
        /// "process 4711", or "another process" when its pid is not known.
        holder: String,
    },
    /// A file operation failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb: "open", "fsync".
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The engine under the store failed.
    #[error("cannot {action} in the log's engine")]
    Engine {
        /// What was tried, as a verb.
        action: &'static str,
        /// What the engine said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Bytes were read that nobody wrote, or bytes that were written are missing.
    #[error(
        "{what} is damaged: {detail}; this server must not run on it: remove it from the fleet and add it anew, or restore a backup"
    )]
    Damaged {
        /// Which record or file.
        what: String,
        /// What is wrong with it. Never quotes the bytes: they may be secret.
        detail: String,
    },
    /// The bytes were written by a later version of this program, or by another program.
    #[error("{what} has format {found}, this program knows {known}")]
    Format {
        /// Which record or file.
        what: String,
        /// The number found.
        found: u32,
        /// The newest number known here.
        known: u32,
    },
    /// The directory belongs to another server.
    #[error("the log belongs to server {found}, not to server {expected}: was a disk moved?")]
    OtherServer {
        /// The id in the settings.
        expected: u64,
        /// The id on disk.
        found: u64,
    },
    /// The log was written by another engine than the one in the settings.
    #[error(
        "the log in {} is kept by {found}, and storage.backend is \"{expected}\": set it to \"{found}\", or move the log with \
         `muster storage convert` while the server is stopped",
        directory.display()
    )]
    OtherEngine {
        /// The data directory.
        directory: PathBuf,
        /// The engine that wrote the log.
        found: Engine,
        /// The engine in the settings.
        expected: Engine,
    },
    /// There is no log to work on.
    #[error("there is no log in {}", directory.display())]
    NoLog {
        /// The data directory that was asked for.
        directory: PathBuf,
    },
    /// A value does not fit where it should go.
    #[error("{what} has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Which value.
        what: &'static str,
        /// Its size in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The caller broke a rule of the log, for instance by leaving a hole.
    #[error("the log was asked for something it must not do: {0}")]
    Rule(String),
    /// The storage thread has ended.
    #[error("storage is closed")]
    Closed,
}

impl Error {
    pub(crate) fn damaged(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Damaged { what: what.into(), detail: detail.into() }
    }

    /// An adapter for `map_err` on file operations.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// An adapter for `map_err` on calls of the engine.
    pub(crate) fn engine<E>(action: &'static str) -> impl FnOnce(E) -> Self
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        move |source| Self::Engine { action, source: Box::new(source) }
    }
}

/// An error and all its causes in one line, for the log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        line.push_str(": ");
        line.push_str(&next.to_string());
        cause = next.source();
    }
    line
}
