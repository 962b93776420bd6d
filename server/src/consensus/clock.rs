//! Where the leader's time comes from.

use std::time::{SystemTime, UNIX_EPOCH};

use muster_state::Stamp;

/// A source of time for stamps. It may go back; stamps do not: see [`next_stamp`].
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;
}

/// The clock of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "a named clock: stamps come from here")]
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The stamp of the next entry: the clock's time, but never before `latest`. A server whose clock is behind waits out the
/// difference instead of bringing expired things back to life.
#[must_use]
pub fn next_stamp(latest: Stamp, clock: &dyn Clock) -> Stamp {
    Stamp { now_ms: latest.now_ms.max(clock.now_ms()) }
}
