//! The one clock of the agent. It decides nothing about a cluster: servers stamp, machines only say what they read.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch; 0 on a machine whose clock stands before it.
#[expect(clippy::disallowed_methods, reason = "this is the named clock of the agent")]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
