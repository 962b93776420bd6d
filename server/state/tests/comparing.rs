//! Replicas compare their states: a majority decides who is wrong, and what differs anywhere is seen.

use muster_state::{State, limits};
use sha2::{Digest as _, Sha256};

use crate::world::{self, World, servers::compare};

fn voters(count: u8) -> World {
    let mut world = World::busy();
    world.done(world::record_server(1));
    for server in 2..=count {
        world.voter(server);
    }
    world
}

fn told(world: &World) -> Vec<Option<u64>> {
    world.state.events.iter().filter(|event| event.reason == "StatesDiffer").map(|event| event.server).collect()
}

fn word(server: u64, digest: u8) -> muster_state::command::CompareState {
    compare(server, 256, digest)
}

#[test]
fn who_differs_from_a_majority_is_wrong_whoever_speaks_first() {
    for (first, second, third) in [(1, 2, 3), (3, 1, 2), (2, 3, 1)] {
        let mut world = voters(3);
        // Server 3 differs; it may be the leader or not.
        let say = |server: u64| word(server, if server == 3 { 8 } else { 7 });
        world.done(say(first));
        assert_eq!(told(&world), []);
        world.done(say(second));
        world.done(say(third));
        assert_eq!(told(&world), [Some(3)], "{first} {second} {third}");
        let comparison = &world.state.comparisons[&256];
        assert!(comparison.condemns("0.2.0", &world::digest(8)) && !comparison.condemns("0.2.0", &world::digest(7)));
        assert!(!comparison.condemns("0.3.0", &world::digest(8)), "another version may say it in other words");
        assert!(!comparison.disputed);
        world.done(say(third));
        assert_eq!(told(&world).len(), 1, "told twice");
    }
}

#[test]
fn without_a_majority_nobody_is_right() {
    let mut world = voters(3);
    world.done(word(1, 1));
    world.done(word(2, 2));
    assert!(!world.state.comparisons[&256].disputed, "one may still agree with either");
    world.done(word(3, 3));
    assert!(world.state.comparisons[&256].disputed);
    assert_eq!(told(&world), [None]);
    // One that was started anew has another word, which makes a majority.
    world.done(word(3, 2));
    let comparison = &world.state.comparisons[&256];
    assert!(!comparison.disputed && comparison.condemns("0.2.0", &world::digest(1)));
    assert_eq!(told(&world), [None, Some(1)]);
}

#[test]
fn programs_of_two_versions_are_not_compared() {
    let mut world = voters(3);
    let mut newer = word(3, 8);
    newer.seen.version = "0.3.0".into();
    world.done(word(1, 7));
    world.done(newer.clone());
    world.done(word(2, 7));
    assert_eq!(told(&world), []);
    let mut world = voters(2);
    world.done(word(1, 7));
    world.done(muster_state::command::CompareState { server: 2, ..newer });
    assert!(!world.state.comparisons[&256].disputed);
}

#[test]
fn only_voters_are_asked_and_only_the_latest_windows_are_kept() {
    let mut world = voters(2);
    world.learner(3);
    assert_eq!(world.apply(word(3, 7)).unwrap_err().word(), "ServerStanding");
    assert_eq!(world.apply(word(9, 7)).unwrap_err().word(), "NotFound");
    for window in 1..=limits::COMPARISONS_KEPT as u64 + 2 {
        world.done(compare(1, window * 256, 7));
    }
    assert_eq!(world.state.comparisons.len(), limits::COMPARISONS_KEPT);
    world.done(compare(2, 256, 7));
    assert!(!world.state.comparisons.contains_key(&256), "a late word opens no old window");
}

fn sampled(state: &State) -> Vec<[u8; 32]> {
    let part = |part| {
        let mut hash = Sha256::new();
        state.sample(part, &mut hash);
        hash.finalize().into()
    };
    (0..64).map(part).collect()
}

#[test]
fn whatever_differs_between_two_states_is_in_some_part_of_the_sample() {
    let world = voters(3);
    let before = sampled(&world.state);
    assert_eq!(sampled(&world.state.clone()), before);
    let spoil: [fn(&mut State); 6] = [
        |state| state.nodes.values_mut().last().unwrap().attempt += 1,
        |state| state.clusters.values_mut().last().unwrap().initialised ^= true,
        |state| state.enrolment_tokens.values_mut().last().unwrap().uses += 1,
        |state| state.servers.values_mut().last().unwrap().generation += 1,
        |state| state.events.back_mut().unwrap().warning ^= true,
        |state| state.fleet.as_mut().unwrap().founded_ms += 1,
    ];
    for (at, spoil) in spoil.into_iter().enumerate() {
        let mut spoilt = world.state.clone();
        spoil(&mut spoilt);
        assert_ne!(sampled(&spoilt), before, "{at}");
    }
}

#[test]
fn what_a_command_touched_is_compared_at_once() {
    let world = voters(1);
    let node = world.state.nodes.keys().next().unwrap().clone();
    let traced = |state: &State| {
        let mut hash = Sha256::new();
        state.trace(&[muster_state::Change::Node(node.clone())], &mut hash);
        hash.finalize()
    };
    let mut spoilt = world.state.clone();
    spoilt.nodes.get_mut(&node).unwrap().failures += 1;
    assert_ne!(traced(&spoilt), traced(&world.state));
    assert_eq!(traced(&world.state), traced(&world.state.clone()));
}
