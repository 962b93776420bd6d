//! What the storage thread has done so far.

use std::sync::atomic::AtomicU64;

/// Counters of the storage thread, for metrics and tests.
#[derive(Debug, Default)]
pub struct Counters {
    /// Batches written and synchronised.
    pub syncs: AtomicU64,
    /// Operations acknowledged.
    pub operations: AtomicU64,
    /// Bytes of all payloads appended since the start.
    pub appended_bytes: AtomicU64,
    /// Bytes of all payloads now in the log.
    pub log_bytes: AtomicU64,
}
