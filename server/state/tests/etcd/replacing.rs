//! A control plane whose machine was installed anew.

use muster_state::command::{ApproveNode, Enrol};

use super::*;
use crate::world;

/// Approves the machine that shows the hardware of `old` under other keys, in its place.
fn replace(world: &mut World, old: &NodeId) -> Result<(), Refusal> {
    let facts = world.node(old).facts.clone();
    let again = Enrol { facts, ..world::enrol(9, None) };
    let node = world.done(again).node;
    let seen = world.node(&node).clone();
    world.apply(ApproveNode {
        node,
        key: seen.identity.key,
        facts_revision: seen.facts_revision,
        cluster: None,
        pool: Some("control".into()),
        name: None,
        replace: true,
    })
}

#[test]
fn a_control_planes_place_is_given_to_its_machine_installed_anew_once_its_member_is_out() {
    let (mut world, old) = one_at_etcd();
    world.advance_to(&old, Verb::WaitReady);
    for (members, problem) in [
        // Nobody has looked, it is there at its address, it is there under its name at another, and it is out.
        (vec![], "may hold an etcd member"),
        (vec![voter("a", 1), voter("b", 2)], "muster etcd remove c1 b"),
        (
            vec![
                voter("a", 1),
                WatchedMember { member: EtcdMember { name: "cp2".into(), ..voter("c", 3).member }, healthy: false },
            ],
            "muster etcd remove c1 c",
        ),
        (vec![voter("a", 1)], ""),
    ] {
        let mut world = World { state: world.state.clone(), now_ms: world.now_ms };
        if !members.is_empty() {
            observe(&mut world, &members);
        }
        match replace(&mut world, &old) {
            Ok(()) => assert_eq!(problem, ""),
            Err(refused) => assert!(!problem.is_empty() && refused.to_string().contains(problem), "{refused}"),
        }
        assert_eq!(world.state.nodes.contains_key(&old), !problem.is_empty());
    }
}
