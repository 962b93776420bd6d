//! One state answers as the single copy does: so a difference in a run is the replication's.

use muster_state::Stamp;

use super::*;
use crate::simulation::linearizability::Model as _;
use crate::simulation::objects::SingleCopy;

const COUNTS: Counts = Counts { permits: 2, registers: 2, counters: 2 };

fn prepared() -> State {
    let mut state = State::default();
    for verb in setup(COUNTS) {
        let name = verb.name();
        let reply = state.apply(Stamp { now_ms: 1_000 }, Command { request: None, verb }).reply;
        assert!(reply.is_ok(), "{name}: {reply:?}");
    }
    state
}

fn random_ask(random: &mut fastrand::Rng, value: u32) -> (Object, Ask) {
    let number = random.u32(0..2);
    match random.u32(0..4) {
        0 => (Object::Token(number), [Ask::Mint, Ask::Redeem { machine: random.u32(0..RIVALS) }][random.usize(0..2)]),
        1 => {
            let node = random.u32(0..RIVALS);
            (Object::Permit(number), [Ask::Grant { node }, Ask::Free { node }][random.usize(0..2)])
        }
        2 => (Object::Register(number), Ask::Replace { seen: random.u64(1..6), value }),
        _ => (Object::Counter(number), Ask::Add { serial: value }),
    }
}

#[test]
fn muster_itself_answers_as_a_single_copy_of_each_object_does() {
    for seed in 0..50 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut state = prepared();
        let mut copies: BTreeMap<Object, Value> = BTreeMap::new();
        for value in 1..100 {
            let (object, ask) = random_ask(&mut random, value);
            let before = copies.get(&object).copied().unwrap_or_else(|| object.initial());
            let (after, expected) = SingleCopy.step(&before, &ask);
            copies.insert(object, after);
            let command = command(object, ask, None).expect("a command");
            let reply = state.apply(Stamp { now_ms: 2_000 }, command).reply;
            assert_eq!(answer(&reply), Some(expected), "seed {seed}: {object:?} {ask:?}: {reply:?}");
            assert_eq!(look(&state, object), after, "seed {seed}: {object:?} after {ask:?}");
        }
    }
}
