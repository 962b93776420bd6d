//! Who keeps up with the leader, and for how long it has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::{ledger::Status, operations::remove_server::ANSWERS_WITHIN_MS};

/// Entries that a server which keeps up may be behind: what is on its way while a busy leader looks.
const LAG_MAX: u64 = 256;

/// Since when each server that does not vote has kept up. Of one leader's term: the next one begins to look anew.
#[derive(Debug, Default)]
pub struct Pace {
    since: BTreeMap<u64, Duration>,
}

impl Pace {
    /// Takes in how the group is doing at `now`, which is any clock that never goes back. One look that finds a server behind, or
    /// silent, makes it begin again.
    pub fn observe(&mut self, status: &Status, now: Duration) {
        let keeps_up = |id: &u64| {
            status.members.get(id).is_some_and(|member| {
                member.lag_entries.is_some_and(|lag| lag <= LAG_MAX)
                    && member.silence_ms.is_some_and(|ms| ms <= ANSWERS_WITHIN_MS)
            })
        };
        self.since.retain(|id, _| keeps_up(id));
        for id in status.members.keys().filter(|id| keeps_up(id)) {
            self.since.entry(*id).or_insert(now);
        }
    }

    /// Servers that have kept up for at least that long.
    pub fn kept_up_for(&self, wanted: Duration, now: Duration) -> BTreeSet<u64> {
        let long_enough = |since: &Duration| now.saturating_sub(*since) >= wanted;
        self.since.iter().filter(|(_, since)| long_enough(since)).map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::testing::{mk_member, mk_status};

    const TEN: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn look(pace: &mut Pace, second: u64, lag: Option<u64>, silence_ms: Option<u64>) -> bool {
        pace.observe(&mk_status(1, [mk_member(2, false, lag, silence_ms)]), at(second));
        pace.kept_up_for(TEN, at(second)).contains(&2)
    }

    #[test]
    fn a_server_has_kept_up_once_every_look_for_the_stated_time_found_it_close() {
        let mut pace = Pace::default();
        for second in 0..10 {
            assert!(!look(&mut pace, second, Some(LAG_MAX), Some(100)), "{second}");
        }
        assert!(look(&mut pace, 10, Some(0), Some(100)));
    }

    #[test]
    fn one_look_that_finds_it_behind_or_silent_begins_again() {
        for (lag, silence) in
            [(Some(LAG_MAX + 1), Some(100)), (None, Some(100)), (Some(0), Some(9_000)), (Some(0), None)]
        {
            let mut pace = Pace::default();
            assert!(!look(&mut pace, 0, Some(0), Some(100)));
            assert!(!look(&mut pace, 9, lag, silence));
            assert!(!look(&mut pace, 10, Some(0), Some(100)));
            assert!(!look(&mut pace, 19, Some(0), Some(100)), "{lag:?} {silence:?}");
            assert!(look(&mut pace, 20, Some(0), Some(100)));
        }
    }

    #[test]
    fn a_server_that_left_and_came_back_begins_again() {
        let mut pace = Pace::default();
        look(&mut pace, 0, Some(0), Some(0));
        pace.observe(&mk_status(1, []), at(5));
        assert!(!look(&mut pace, 10, Some(0), Some(0)));
    }
}
