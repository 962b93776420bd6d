//! A server's clock: virtual time, and what somebody has set it wrong by.

use std::sync::atomic::{AtomicI64, Ordering};

use muster_server::consensus::Clock;
use tokio::time::Instant;

/// 2026-11-22T00:00:00Z, when every run begins.
const START_MS: u64 = 1_795_305_600_000;

/// The clock. A step stays, as it does on a machine whose clock was set.
#[derive(Debug)]
pub struct SteppedClock {
    began: Instant,
    wrong_by_ms: AtomicI64,
}

impl SteppedClock {
    /// A clock that is right.
    #[must_use]
    pub fn new() -> Self {
        Self { began: Instant::now(), wrong_by_ms: AtomicI64::new(0) }
    }

    /// Sets it forward or back.
    pub fn step(&self, by_ms: i64) {
        self.wrong_by_ms.fetch_add(by_ms, Ordering::Relaxed);
    }
}

impl Default for SteppedClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SteppedClock {
    fn now_ms(&self) -> u64 {
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        (START_MS + since).saturating_add_signed(self.wrong_by_ms.load(Ordering::Relaxed))
    }
}
