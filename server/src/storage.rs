//! What survives a power cut: vote, log and snapshots of one server.
//!
//! ```text
//! <data directory>/
//!   LOCK              flock and pid of the server that owns the directory
//!   CURRENT           names the log directory that is live and its engine; written last at creation
//!   GENERATION        how often a server was started here
//!   WITNESS           how far the log must reach, kept outside the engine
//!   log-000001/       the engine's own files
//!   snapshots/        one file per snapshot, the newest two are kept
//! ```
//!
//! Reading order: [`directory`] (what lies where), [`backend`] (what an engine must offer), [`engine`] (which there are),
//! [`sled`] and [`redb`] (the only files that name them), [`record`] (bytes of a record), [`log`] (which records there are),
//! [`durable`] (the one thread that writes, synchronises and only then acknowledges), [`witness`] (what an engine that lost
//! its tail cannot hide), [`snapshots`], [`rewrite`] (to another engine, or to fresh files).
//!
//! Absent on purpose: Raft types (bytes and indices only, so that an engine can be changed without touching
//! consensus), retries and repairs. After any error of the engine or of fsync the process ends: the kernel marks pages
//! clean after a failed fsync, so a second one that succeeds proves nothing.

pub mod backend;
mod counters;
pub mod directory;
pub mod durable;
pub mod engine;
mod error;
mod log;
pub mod record;
pub mod redb;
pub mod rewrite;
pub mod sled;
pub mod snapshots;
mod thread;
pub mod witness;

pub use durable::{Done, Opened, Record, Store};
pub use engine::Engine;
pub use error::Error;
pub use log::PurgePoint;
pub(crate) use thread::end;
