//! A length of time as people write it: `500ms`, `10s`, `5m`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Longest span a setting may name: a day, beyond which a typing error is likelier than a wish.
const MAX: Duration = Duration::from_secs(24 * 3600);

/// A length of time in a settings file, at most a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(Duration);

impl Span {
    /// So many seconds, at most a day.
    pub fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds).min(MAX))
    }

    /// As a duration.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no length of time; write it like 500ms, 10s or 5m, at most 24h");
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number: u32 = text[..digits].parse().map_err(|_| wrong())?;
        let unit = match &text[digits..] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return Err(wrong()),
        };
        unit.checked_mul(number).filter(|span| *span <= MAX).map(Self).ok_or_else(wrong)
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            ms if ms % 1_000 == 0 => write!(f, "{}s", ms / 1_000),
            ms => write!(f, "{ms}ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_they_are_printed() {
        for (text, ms) in [("0s", 0), ("500ms", 500), ("10s", 10_000), ("5m", 300_000), ("24h", 86_400_000)] {
            let span = Span::try_from(text.to_owned()).unwrap();
            assert_eq!(span.duration(), Duration::from_millis(ms), "{text}");
            assert_eq!(Span::try_from(span.to_string()).unwrap(), span);
        }
        for text in ["", "10", "s", "-1s", "1.5s", "10 s", "25h", "99999999999s", "1d"] {
            assert!(Span::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }
}
