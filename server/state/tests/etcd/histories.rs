//! Random histories: whatever is seen of etcd and asked of it, only what may be taken out is (`world/invariants/etcd.rs` looks after
//! every command).

use muster_state::{
    NodeId,
    command::{EndEtcdRemoval, EtcdSeen, ObserveEtcd, RemoveNode},
    record::Verb,
};
use proptest::prelude::*;

use super::{c1, drop_learner, grant, machine, one_at_etcd, remove, watched};
use crate::world::{World, friendly::failure};

/// Any verb on etcd, on any member, and now and then what somebody would do next.
fn random_verb(world: &World, [what, a, b]: [u8; 3]) -> muster_state::Verb {
    let id = format!("{:x}", a % 5);
    let machines: Vec<NodeId> = world.state.nodes.keys().cloned().collect();
    let node = &machines[usize::from(a) % machines.len()];
    match what % 10 {
        0..3 => {
            let some = (0..5_u8).filter(|n| b >> n & 1 == 1 || *n == 0).map(|n| {
                let bits = a.rotate_left(u32::from(n)) ^ b;
                watched(&format!("{n:x}"), n + 1, bits & 3 != 0, n > 0 && bits & 4 != 0, bits & 24 != 0)
            });
            let after = world.state.last_event - u64::from(b % 3);
            ObserveEtcd { cluster: c1(), after, seen: EtcdSeen::Members(some.collect()) }.into()
        }
        3 if b % 4 == 0 => ObserveEtcd { cluster: c1(), after: 0, seen: EtcdSeen::Nothing("refused".into()) }.into(),
        3 | 4 => drop_learner(&id, a % 5 + 1).into(),
        5 => remove(&id).into(),
        6 if b % 2 == 0 => EndEtcdRemoval { cluster: c1(), member: id, problem: "etcd refuses".into() }.into(),
        6 => grant(node).into(),
        7 if b % 16 == 0 && machines.len() > 2 => RemoveNode { node: node.clone(), reason: String::new() }.into(),
        7 => {
            let at = world.node(node).current_step().map_or(Verb::JoinEtcd, |step| step.verb);
            crate::world::friendly::report(world.node(node), at, failure("Timeout", b % 4 != 0)).into()
        }
        _ => {
            let next = crate::world::friendly::next(&world.state);
            let picked = next.get(usize::from(b) % next.len().max(1)).cloned();
            picked.unwrap_or_else(|| remove(&id).into())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_any_history_only_what_may_be_is_taken_out(choices in prop::collection::vec(any::<[u8; 3]>(), 1..200)) {
        let (mut world, _) = one_at_etcd();
        machine(&mut world, 3);
        for choice in choices {
            let verb = random_verb(&world, choice);
            world.now_ms += 1_000;
            let _ = world.command(muster_state::Command { request: None, verb });
        }
        let bytes = world.state.to_snapshot().unwrap();
        prop_assert_eq!(muster_state::State::from_snapshot(&bytes).unwrap(), world.state);
    }
}
