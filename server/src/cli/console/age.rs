//! Times for people: ages as kubectl writes them, and full timestamps in UTC.

use jiff::Timestamp;

/// Shown where a time is not known.
const UNKNOWN: &str = "<unknown>";

/// A span of seconds in one or two units: `45s`, `5m`, `5m30s`, `3h20m`, `2d4h`, `30d`.
pub(in crate::cli) fn span(seconds: u64) -> String {
    let (minute, hour, day) = (60, 3600, 86_400);
    let pair = |large: u64, name: char, small: u64, small_name: char| match seconds % large / small {
        0 => format!("{}{name}", seconds / large),
        rest => format!("{}{name}{rest}{small_name}", seconds / large),
    };
    match seconds {
        s if s < 2 * minute => format!("{s}s"),
        s if s < 10 * minute => pair(minute, 'm', 1, 's'),
        s if s < 3 * hour => format!("{}m", s / minute),
        s if s < 8 * hour => pair(hour, 'h', minute, 'm'),
        s if s < 2 * day => format!("{}h", s / hour),
        s if s < 8 * day => pair(day, 'd', hour, 'h'),
        s => format!("{}d", s / day),
    }
}

/// How long ago `at` was. A time in the future, as clocks differ, is `0s` ago.
pub(in crate::cli) fn age(at: Option<&muster_proto::Timestamp>, now: Timestamp) -> String {
    match at {
        Some(at) => age_since(at.seconds, now),
        None => UNKNOWN.to_owned(),
    }
}

/// How long ago a Unix time in seconds was.
pub(in crate::cli) fn age_since(unix_s: i64, now: Timestamp) -> String {
    span(now.as_second().saturating_sub(unix_s).try_into().unwrap_or(0))
}

/// RFC 3339 in UTC, to the second.
pub(in crate::cli) fn stamp(at: Option<&muster_proto::Timestamp>) -> String {
    match at.and_then(|at| Timestamp::from_second(at.seconds).ok()) {
        Some(at) => at.to_string(),
        None => UNKNOWN.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::console::testing::noon;

    #[test]
    fn spans_read_as_kubectls() {
        let cases = [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (330, "5m30s"),
            (600, "10m"),
            (10_799, "179m"),
            (12_000, "3h20m"),
            (86_400, "24h"),
            (2 * 86_400 + 4 * 3600, "2d4h"),
            (30 * 86_400, "30d"),
        ];
        for (seconds, text) in cases {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn a_time_in_the_future_is_no_age() {
        let at = muster_proto::Timestamp { seconds: noon().as_second() + 5, nanos: 0 };
        assert_eq!(age(Some(&at), noon()), "0s");
        assert_eq!(age(None, noon()), "<unknown>");
    }

    #[test]
    fn stamps_are_utc() {
        let at = muster_proto::Timestamp { seconds: noon().as_second(), nanos: 5 };
        assert_eq!(stamp(Some(&at)), "2026-11-22T12:00:00Z");
        assert_eq!(stamp(None), "<unknown>");
    }
}
