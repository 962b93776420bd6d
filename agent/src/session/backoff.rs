//! How long to wait before the next server is tried.

use std::time::Duration;

/// Before the second try.
const FIRST: Duration = Duration::from_millis(250);

/// Never longer: a fleet that comes back is noticed within half a minute.
const LONGEST: Duration = Duration::from_secs(30);

/// The pause before try number `tries` (from 0) over `servers` servers. Every server is tried once before the pause doubles.
/// `share` (0 to 255) spreads it over its upper half, so that ten thousand machines do not come back at one moment.
pub(super) fn pause(tries: u32, servers: usize, share: u8) -> Duration {
    let Some(before) = tries.checked_sub(1) else {
        return Duration::ZERO;
    };
    let rounds = before / u32::try_from(servers.max(1)).unwrap_or(u32::MAX);
    let whole = FIRST.saturating_mul(1_u32 << rounds.min(10)).min(LONGEST);
    whole / 2 + whole / 2 * u32::from(share) / 255
}

/// A random byte; 128 if the system has none to give.
pub(super) fn random_share() -> u8 {
    let mut byte = [128];
    // Without randomness the machines come back together, which is slow but not wrong.
    let _kept = aws_lc_rs::rand::fill(&mut byte);
    byte[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_try_is_at_once_and_each_round_waits_longer() {
        assert_eq!(pause(0, 3, 255), Duration::ZERO);
        assert_eq!([1, 2, 3].map(|tries| pause(tries, 3, 255)), [FIRST; 3]);
        assert_eq!(pause(4, 3, 255), FIRST * 2);
    }

    #[test]
    fn the_pause_is_bounded_and_never_none() {
        for tries in [1, 5, 100, u32::MAX] {
            for share in [0, 7, 255] {
                let pause = pause(tries, 1, share);
                assert!(pause >= FIRST / 2 && pause <= LONGEST, "{tries} {share}: {pause:?}");
            }
        }
        assert_eq!(pause(u32::MAX, 0, 255), LONGEST);
    }
}
