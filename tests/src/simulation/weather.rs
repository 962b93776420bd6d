//! What the network does to a message: a pure function of the rules in force and of chance.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_server::consensus::ServerId;

/// A disturbance of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// These servers and the others do not reach each other.
    Split(Vec<ServerId>),
    /// Nothing reaches this server.
    Deaf(ServerId),
    /// Nothing leaves this server.
    Mute(ServerId),
    /// All messages suffer.
    Storm {
        /// Of a hundred messages so many are lost.
        lost_percent: u8,
        /// Of a hundred messages so many come twice.
        doubled_percent: u8,
        /// They take up to this long, each its own time: so they overtake each other.
        delay: Duration,
    },
}

/// How long a message takes where nothing is wrong, at least and at most.
const CALM: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(3));

/// The rules in force, and a source of chance for each direction between two servers, so that one server's messages do not
/// change the fate of another's.
#[derive(Debug)]
pub struct Weather {
    seed: u64,
    rules: BTreeMap<u64, Rule>,
    ways: BTreeMap<(ServerId, ServerId), fastrand::Rng>,
}

impl Weather {
    /// No rule in force.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, rules: BTreeMap::new(), ways: BTreeMap::new() }
    }

    /// Puts a rule in force, under a number by which it is lifted.
    pub fn set(&mut self, number: u64, rule: Rule) {
        self.rules.insert(number, rule);
    }

    /// Lifts a rule.
    pub fn lift(&mut self, number: u64) {
        self.rules.remove(&number);
    }

    /// Lifts all rules.
    pub fn calm(&mut self) {
        self.rules.clear();
    }

    /// Whether anything gets from one server to the other.
    #[must_use]
    pub fn passes(&self, from: ServerId, to: ServerId) -> bool {
        !self.rules.values().any(|rule| match rule {
            Rule::Split(side) => side.contains(&from) != side.contains(&to),
            Rule::Deaf(id) => *id == to,
            Rule::Mute(id) => *id == from,
            Rule::Storm { .. } => false,
        })
    }

    /// After which times a message arrives: never, once, or twice.
    pub fn fate(&mut self, from: ServerId, to: ServerId) -> Vec<Duration> {
        let way = self.seed ^ (from << 32) ^ (to << 48);
        let random = self.ways.entry((from, to)).or_insert_with(|| fastrand::Rng::with_seed(way));
        let (mut lost, mut doubled, mut latest) = (0, 0, CALM.1);
        for rule in self.rules.values() {
            if let Rule::Storm { lost_percent, doubled_percent, delay } = rule {
                lost = lost.max(*lost_percent);
                doubled = doubled.max(*doubled_percent);
                latest = latest.max(*delay);
            }
        }
        // Drawn whether it is needed or not, so that a rule changes fates and not the order of draws.
        let (is_lost, is_doubled) = (random.u8(0..100) < lost, random.u8(0..100) < doubled);
        let [one, two] = [(); 2].map(|()| between(random, CALM.0, latest));
        match (is_lost, is_doubled) {
            (true, _) => Vec::new(),
            (false, false) => vec![one],
            (false, true) => vec![one, two],
        }
    }
}

fn between(random: &mut fastrand::Rng, least: Duration, most: Duration) -> Duration {
    let spread = u64::try_from((most - least).as_micros()).unwrap_or(u64::MAX);
    least + Duration::from_micros(random.u64(0..=spread))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storm(lost_percent: u8, doubled_percent: u8) -> Rule {
        Rule::Storm { lost_percent, doubled_percent, delay: Duration::from_millis(300) }
    }

    #[test]
    fn in_calm_weather_each_message_arrives_once_and_soon() {
        let mut weather = Weather::new(1);
        for _ in 0..1000 {
            let fate = weather.fate(1, 2);
            assert!(fate.len() == 1 && fate[0] <= CALM.1, "{fate:?}");
        }
        assert!(weather.passes(1, 2));
    }

    #[test]
    fn a_storm_loses_doubles_and_reorders() {
        let mut weather = Weather::new(1);
        weather.set(7, storm(30, 30));
        let fates: Vec<_> = (0..1000).map(|_| weather.fate(1, 2)).collect();
        let of = |copies: usize| fates.iter().filter(|fate| fate.len() == copies).count();
        assert!((200..400).contains(&of(0)) && (100..400).contains(&of(2)), "{} {}", of(0), of(2));
        let overtaken = fates.windows(2).filter(|pair| pair[0].first() > pair[1].first()).count();
        assert!(overtaken > 100, "{overtaken}");
        weather.lift(7);
        assert_eq!(weather.fate(1, 2).len(), 1);
    }

    #[test]
    fn a_split_cuts_both_ways_and_a_deaf_or_mute_server_one() {
        let mut weather = Weather::new(1);
        weather.set(1, Rule::Split(vec![1, 2]));
        assert_eq!(
            [(1, 2), (1, 3), (3, 1), (3, 4)].map(|(from, to)| weather.passes(from, to)),
            [true, false, false, true]
        );
        weather.set(1, Rule::Deaf(1));
        assert_eq!([(1, 2), (2, 1)].map(|(from, to)| weather.passes(from, to)), [true, false]);
        weather.set(1, Rule::Mute(1));
        assert_eq!([(1, 2), (2, 1)].map(|(from, to)| weather.passes(from, to)), [false, true]);
        weather.calm();
        assert!(weather.passes(1, 2));
    }

    #[test]
    fn one_seed_gives_the_same_fates_on_a_way_whatever_happens_on_others() {
        let fates = |seed: u64, disturb: bool| -> Vec<_> {
            let mut weather = Weather::new(seed);
            weather.set(1, storm(20, 20));
            let fate = |_| {
                if disturb {
                    weather.fate(2, 1);
                }
                weather.fate(1, 2)
            };
            (0..100).map(fate).collect()
        };
        assert_eq!(fates(5, false), fates(5, true));
        assert_ne!(fates(5, false), fates(6, false));
    }
}
