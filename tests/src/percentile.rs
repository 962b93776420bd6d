//! Percentiles of what was measured.

use std::time::Duration;

/// The smallest of the durations that `share` of them do not exceed (the nearest rank), `share` from 0 to 1; they must be in
/// ascending order. Zero if there are none.
#[must_use]
pub fn percentile(ascending: &[Duration], share: f64) -> Duration {
    let rank = (ascending.len() as f64 * share).ceil() as usize;
    ascending.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_of_the_durations_and_the_last_at_the_end() {
        let hundred: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        let at = |share| percentile(&hundred, share).as_millis();
        assert_eq!([at(0.0), at(0.5), at(0.99), at(0.991), at(1.0)], [1, 50, 99, 100, 100]);
        assert_eq!(percentile(&hundred[..1], 0.5), hundred[0]);
        assert_eq!(percentile(&[], 0.5), Duration::ZERO);
    }
}
