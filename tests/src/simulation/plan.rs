//! What a seed means: who does what when, and what goes wrong when. Drawn before the run begins, so that nothing in the run
//! changes it; it can be stored and run again.

use serde::{Deserialize, Serialize};

use super::commands::{Counts, RIVALS};
use super::objects::{Ask, Object};

mod faults;

pub use faults::{Fault, Kind, Victim};

/// Faults happen for this long, milliseconds of virtual time.
pub const TROUBLE_MS: u64 = 20_000;

/// Objects in every run. Eight counters, so that none is told of more often than its events are kept.
pub const COUNTS: Counts = Counts { permits: 2, registers: 2, counters: 8 };

/// Tokens in every run.
pub const TOKENS: u32 = 12;

const CLIENTS: u32 = 6;

/// A whole run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The seed it was drawn from; the run draws delays and time-outs from it too.
    pub seed: u64,
    /// Voters at the beginning: servers 1 to 3, or to 5.
    pub voters: u64,
    /// Learners at the beginning.
    pub learners: u64,
    /// Entries between two snapshots.
    pub snapshot_every: u64,
    /// What each client does, one after the other.
    pub clients: Vec<Vec<Step>>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

/// One operation of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// How long it thinks before, milliseconds.
    pub wait_ms: u64,
    /// On what.
    pub object: Object,
    /// What it asks. The revision of a replacement is the one it saw last.
    pub ask: Ask,
    /// With a request id, so that it may be repeated after an unknown outcome.
    pub request: bool,
    /// Repeated once more after it was answered, to see whether the answer is the same.
    pub echo: bool,
    /// Which server is asked first, as a place in the list of all; the next ones follow.
    pub server: usize,
    /// How long an attempt may take, milliseconds.
    pub within_ms: u64,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let voters = if random.u8(0..5) < 3 { 3 } else { 5 };
        let mut serial = 0;
        Self {
            seed,
            voters,
            learners: random.u64(0..=1),
            snapshot_every: random.u64(15..80),
            clients: (0..CLIENTS).map(|client| steps(&mut random, client, &mut serial)).collect(),
            faults: faults::draw(&mut random),
        }
    }

    /// The kinds of faults in it.
    #[must_use]
    pub fn kinds(&self) -> std::collections::BTreeSet<&'static str> {
        self.faults.iter().map(|fault| fault.kind.name()).collect()
    }
}

/// What one client does while there is trouble.
fn steps(random: &mut fastrand::Rng, client: u32, serial: &mut u32) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut at_ms = 0;
    while at_ms < TROUBLE_MS {
        let wait_ms = random.u64(0..1_000);
        // An operation takes a few milliseconds when all is well.
        at_ms += wait_ms + 20;
        *serial += 1;
        let (object, ask) = operation(random, client, *serial, at_ms);
        let drawn = if ask == Ask::Look { 10 } else { random.u8(0..10) };
        // An addition without a request is the only thing that shows when it is carried out twice.
        let request = drawn < if matches!(ask, Ask::Add { .. }) { 2 } else { 7 };
        steps.push(Step {
            wait_ms,
            object,
            ask,
            request,
            echo: drawn < 7 && random.u8(0..4) == 0 && request,
            server: random.usize(0..16),
            within_ms: random.u64(300..4_000),
        });
    }
    steps
}

fn operation(random: &mut fastrand::Rng, client: u32, serial: u32, at_ms: u64) -> (Object, Ask) {
    // Which tokens are of interest moves on with time, so that each is fought over by several at once.
    let token = u32::try_from(at_ms * u64::from(TOKENS) / (TROUBLE_MS + 1_000)).unwrap_or(0);
    match random.u32(0..20) {
        0..2 => (Object::Token(token), Ask::Mint),
        2..6 => (Object::Token(token), Ask::Redeem { machine: client % RIVALS }),
        6..10 => {
            let node = random.u32(0..RIVALS);
            let ask = if random.bool() { Ask::Grant { node } } else { Ask::Free { node } };
            (Object::Permit(random.u32(0..COUNTS.permits)), ask)
        }
        10..13 => (Object::Register(random.u32(0..COUNTS.registers)), Ask::Replace { seen: 0, value: serial }),
        13..15 => (Object::Counter(random.u32(0..COUNTS.counters)), Ask::Add { serial }),
        _ => (any_object(random, token), Ask::Look),
    }
}

fn any_object(random: &mut fastrand::Rng, token: u32) -> Object {
    match random.u32(0..4) {
        0 => Object::Token(token),
        1 => Object::Permit(random.u32(0..COUNTS.permits)),
        2 => Object::Register(random.u32(0..COUNTS.registers)),
        _ => Object::Counter(random.u32(0..COUNTS.counters)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_means_the_same_plan_and_survives_being_stored() {
        for seed in 0..50 {
            let plan = Plan::of(seed);
            assert_eq!(plan, Plan::of(seed));
            assert_ne!(plan, Plan::of(seed + 1));
            let stored = serde_json::to_string(&plan).unwrap();
            assert_eq!(serde_json::from_str::<Plan>(&stored).unwrap(), plan);
        }
    }

    #[test]
    fn every_plan_has_at_least_six_kinds_of_faults_that_overlap() {
        for seed in 0..500 {
            let plan = Plan::of(seed);
            assert!(plan.kinds().len() >= 6, "seed {seed}: {:?}", plan.kinds());
            let overlap = |fault: &Fault| {
                plan.faults.iter().any(|other| other.at_ms > fault.at_ms && other.at_ms < fault.at_ms + fault.lasts_ms)
            };
            assert!(plan.faults.iter().filter(|fault| overlap(fault)).count() >= 3, "seed {seed}");
        }
    }

    #[test]
    fn every_kind_of_fault_and_every_operation_is_drawn() {
        let plans: Vec<Plan> = (0..100).map(Plan::of).collect();
        let kinds: std::collections::BTreeSet<_> = plans.iter().flat_map(Plan::kinds).collect();
        assert_eq!(kinds, Kind::NAMES.iter().copied().collect());
        let steps = || plans.iter().flat_map(|plan| plan.clients.iter().flatten());
        assert!(steps().any(|step| step.echo) && steps().any(|step| step.ask == Ask::Mint && !step.request));
    }
}
