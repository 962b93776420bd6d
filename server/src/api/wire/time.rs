//! Milliseconds since the Unix epoch, and protobuf's timestamps.

use muster_proto::Timestamp;

/// A timestamp; `None` for 0, which means never.
pub fn timestamp(ms: u64) -> Option<Timestamp> {
    let seconds = i64::try_from(ms / 1000).ok()?;
    let nanos = i32::try_from(ms % 1000 * 1_000_000).ok()?;
    (ms != 0).then_some(Timestamp { seconds, nanos })
}

/// Milliseconds; 0 for a time before 1970 or none.
pub fn millis(time: Option<Timestamp>) -> u64 {
    let Some(time) = time else { return 0 };
    let seconds = u64::try_from(time.seconds).unwrap_or_default();
    seconds.saturating_mul(1000).saturating_add(u64::try_from(time.nanos).unwrap_or_default() / 1_000_000)
}
