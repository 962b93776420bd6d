//! Etcd's members: what a look at them is evidence of, who may be taken out, and who has to wait for that.

use muster_state::{
    ClusterId, NodeId, Phase, Refusal,
    command::{
        DropEtcdLearner, EndEtcdRemoval, EtcdSeen, GrantPermit, ObserveEtcd, RemoveEtcdMember, RemoveNode, StepOutcome,
    },
    etcd::{check_removal, is_peer_url_of, quorum},
    record::{EtcdMember, EtcdView, Permit, PermitKind, Verb, WatchedMember},
};
use proptest::prelude::*;

use crate::world::{World, friendly::failure};

mod histories;
mod replacing;

fn c1() -> ClusterId {
    "c1".into()
}

/// `name` is the machine number too: 192.0.2.N. An unstarted one has no name.
fn watched(id: &str, machine: u8, started: bool, learner: bool, healthy: bool) -> WatchedMember {
    let name = if started { format!("cp{machine}") } else { String::new() };
    let peer_urls = vec![format!("https://192.0.2.{machine}:2380")];
    WatchedMember { member: EtcdMember { id: id.into(), name, peer_urls, learner }, healthy }
}

fn voter(id: &str, machine: u8) -> WatchedMember {
    watched(id, machine, true, false, true)
}

fn unstarted(id: &str, machine: u8) -> WatchedMember {
    watched(id, machine, false, true, false)
}

fn permit(world: &World) -> Permit {
    world.state.clusters[&c1()].permit(PermitKind::EtcdJoin)
}

fn view(world: &World) -> EtcdView {
    world.state.clusters[&c1()].etcd.clone().unwrap_or_default()
}

fn look(world: &mut World, after: u64, members: &[WatchedMember]) {
    let seen = EtcdSeen::Members(members.to_vec());
    world.done(ObserveEtcd { cluster: c1(), after, seen });
}

/// A look that began now.
fn observe(world: &mut World, members: &[WatchedMember]) {
    look(world, world.state.last_event, members);
}

fn drop_learner(id: &str, machine: u8) -> DropEtcdLearner {
    DropEtcdLearner { cluster: c1(), member: id.into(), peer_url: format!("https://192.0.2.{machine}:2380") }
}

fn remove(id: &str) -> RemoveEtcdMember {
    RemoveEtcdMember { cluster: c1(), member: id.into(), reason: String::new() }
}

fn grant(node: &NodeId) -> GrantPermit {
    GrantPermit { cluster: c1(), kind: PermitKind::EtcdJoin, node: node.clone() }
}

fn word(refused: Result<(), Refusal>) -> &'static str {
    refused.expect_err("it is refused").word()
}

fn has_event(world: &World, reason: &str) -> bool {
    world.state.events.iter().any(|event| event.reason == reason)
}

/// A control plane that claims the address of its number.
fn machine(world: &mut World, number: u8) -> NodeId {
    let id = world.control_plane(number, &format!("cp{number}"));
    let node = world.state.nodes.get_mut(&id).unwrap();
    node.facts.addresses = vec![format!("198.51.100.{number}"), format!("192.0.2.{number}")];
    id
}

/// A linked cluster with its first control plane, and a second that holds the permit at its etcd step.
fn one_at_etcd() -> (World, NodeId) {
    let mut world = World::linked();
    let first = machine(&mut world, 1);
    world.advance_to(&first, Verb::WaitReady);
    let holder = machine(&mut world, 2);
    world.advance_to(&holder, Verb::JoinEtcd);
    (world, holder)
}

/// The same after its join failed; `clean`: and its machine was reset.
fn failed(clean: bool) -> (World, NodeId) {
    let (mut world, holder) = one_at_etcd();
    world.report(&holder, failure("Timeout", clean));
    (world, holder)
}

#[test]
fn a_quorum_is_more_than_half() {
    let all: Vec<usize> = (1..8).map(quorum).collect();
    assert_eq!(all, [1, 2, 2, 3, 3, 4, 4]);
}

#[test]
fn a_peer_url_belongs_to_one_address_and_kubeadms_port() {
    for (url, address, belongs) in [
        ("https://192.0.2.2:2380", "192.0.2.2", true),
        ("https://192.0.2.2:2380/", "192.0.2.2", true),
        ("https://[2001:db8::2]:2380", "2001:db8:0:0::2", true),
        ("https://[::ffff:192.0.2.2]:2380", "192.0.2.2", true),
        ("https://192.0.2.22:2380", "192.0.2.2", false),
        ("https://192.0.2.2:2381", "192.0.2.2", false),
        ("http://192.0.2.2:2380", "192.0.2.2", false),
        ("https://cp2.example:2380", "192.0.2.2", false),
        ("https://cp2.example:2380", "cp2.example", false),
        ("https://192.0.2.2", "192.0.2.2", false),
        ("", "", false),
    ] {
        assert_eq!(is_peer_url_of(url, address), belongs, "{url} {address}");
    }
}

#[test]
fn who_may_be_taken_out_by_an_operators_word() {
    let sick = |id: &str, machine| watched(id, machine, true, false, false);
    let never = |id: &str, machine| watched(id, machine, false, false, false);
    for (what, members, id, may) in [
        ("one of three", vec![voter("a", 1), voter("b", 2), voter("c", 3)], "a", true),
        ("the sick one of three", vec![voter("a", 1), voter("b", 2), sick("c", 3)], "c", true),
        ("a healthy one where another is sick", vec![voter("a", 1), voter("b", 2), sick("c", 3)], "a", false),
        ("one where two are sick", vec![voter("a", 1), sick("b", 2), sick("c", 3)], "c", false),
        ("one of two", vec![voter("a", 1), voter("b", 2)], "a", true),
        ("the sick one of two", vec![voter("a", 1), sick("b", 2)], "b", false),
        ("the only one", vec![voter("a", 1)], "a", false),
        ("the only voter beside a learner", vec![voter("a", 1), watched("l", 2, true, true, true)], "a", false),
        ("a voter that never started", vec![voter("a", 1), voter("b", 2), never("c", 3)], "c", true),
        ("a learner that runs", vec![voter("a", 1), watched("l", 2, true, true, true)], "l", true),
        ("a learner of an etcd without quorum", vec![voter("a", 1), sick("b", 2), unstarted("l", 3)], "l", true),
        ("one that is not there", vec![voter("a", 1)], "x", false),
    ] {
        assert_eq!(check_removal(&members, id).is_ok(), may, "{what}: {:?}", check_removal(&members, id));
    }
}

fn members() -> impl Strategy<Value = Vec<WatchedMember>> {
    let member = (any::<bool>(), prop::bool::weighted(0.3), any::<bool>());
    prop::collection::vec(member, 1..9).prop_map(|all| {
        let all = all.into_iter().zip(1_u8..);
        all.map(|((started, learner, healthy), n)| watched(&format!("{n:x}"), n, started, learner, healthy)).collect()
    })
}

proptest! {
    #[test]
    fn whoever_is_taken_out_a_quorum_of_those_that_remain_is_up(members in members(), pick in any::<prop::sample::Index>()) {
        let leaving = &members[pick.index(members.len())];
        let outcome = check_removal(&members, &leaving.member.id);
        let voters = |all: &[WatchedMember]| all.iter().filter(|one| !one.member.learner).count();
        let up = |all: &[WatchedMember]| {
            all.iter().filter(|one| !one.member.learner && one.healthy && !one.member.name.is_empty()).count()
        };
        let rest: Vec<_> = members.iter().filter(|one| one.member.id != leaving.member.id).cloned().collect();
        if leaving.member.learner {
            prop_assert!(outcome.is_ok());
        } else {
            // By counting: two more than half are twice as many and one.
            let goes_on = 2 * up(&rest) > voters(&rest);
            let can_decide = 2 * up(&members) > voters(&members);
            prop_assert_eq!(outcome.is_ok(), goes_on && can_decide, "{:?}", outcome);
        }
    }
}

#[test]
fn the_same_look_again_changes_nothing_and_a_cluster_without_a_link_has_none() {
    let (mut world, _) = one_at_etcd();
    observe(&mut world, &[voter("b", 2), voter("a", 1)]);
    let ids: Vec<String> = view(&world).members.into_iter().map(|watched| watched.member.id).collect();
    assert_eq!(ids, ["a", "b"], "in one order");
    let before = world.state.clone();
    let again = |members| ObserveEtcd { cluster: c1(), after: u64::MAX, seen: EtcdSeen::Members(members) };
    assert!(!again(vec![voter("a", 1), voter("b", 2)]).is_news(&world.state));
    world.now_ms += 60_000;
    observe(&mut world, &[voter("a", 1), voter("b", 2)]);
    assert_eq!(before.clusters, world.state.clusters);
    assert_eq!(word(world.apply(again(Vec::new()))), "Invalid");
    let many = (0..=64).map(|n| voter(&format!("{n:x}"), n)).collect();
    assert_eq!(word(world.apply(again(many))), "QueueFull");
    let mut detached = World::new();
    assert_eq!(word(detached.apply(again(vec![voter("a", 1)]))), "Invalid");
    assert_eq!(word(detached.apply(remove("a"))), "Invalid");
    assert_eq!(word(detached.apply(drop_learner("a", 1))), "Invalid");
}

#[test]
fn what_was_known_stays_when_etcd_cannot_be_asked() {
    let (mut world, _) = one_at_etcd();
    observe(&mut world, &[voter("a", 1)]);
    let since_ms = view(&world).since_ms;
    world.now_ms += 60_000;
    let nothing = |why: &str| ObserveEtcd { cluster: c1(), after: 0, seen: EtcdSeen::Nothing(why.into()) };
    world.done(nothing("refused"));
    let events = world.state.last_event;
    world.done(nothing("refused again"));
    assert_eq!(world.state.last_event, events, "one word for it is enough");
    let seen = view(&world);
    assert_eq!((seen.members.len(), seen.since_ms, seen.is_current()), (1, since_ms, false));
    assert_eq!(seen.problem.map(|problem| problem.message).as_deref(), Some("refused"));
    assert_eq!(word(world.apply(remove("a"))), "Etcd");
    observe(&mut world, &[voter("a", 1)]);
    assert!(view(&world).is_current() && has_event(&world, "EtcdSeen"));
    assert_eq!(view(&world).since_ms, since_ms, "they are what they were");
}

#[test]
fn the_permit_moves_on_when_a_later_look_shows_no_learner() {
    let (mut world, holder) = one_at_etcd();
    let early = world.state.last_event;
    world.report(&holder, failure("Timeout", true));
    look(&mut world, early, &[voter("a", 1)]);
    assert_eq!(permit(&world).holder.as_ref(), Some(&holder), "it began before the join had ended");
    observe(&mut world, &[voter("a", 1), unstarted("f", 2)]);
    assert_eq!(permit(&world).holder.as_ref(), Some(&holder), "a learner is left");
    observe(&mut world, &[voter("a", 1), watched("e", 9, true, true, true)]);
    assert_eq!(permit(&world).holder.as_ref(), Some(&holder), "another's learner");
    observe(&mut world, &[voter("a", 1)]);
    assert_eq!(permit(&world).holder, None);
}

#[test]
fn a_holder_that_runs_its_step_keeps_the_permit_whatever_is_seen() {
    let (mut world, holder) = one_at_etcd();
    observe(&mut world, &[voter("a", 1)]);
    observe(&mut world, &[voter("a", 1), unstarted("f", 2)]);
    observe(&mut world, &[voter("a", 1), voter("f", 2)]);
    assert_eq!(permit(&world).holder, Some(holder));
    assert_eq!(word(world.apply(drop_learner("f", 2))), "Etcd");
}

#[test]
fn what_a_failed_join_left_is_taken_out_once_and_the_permit_moves_on_when_it_is_gone() {
    let (mut world, holder) = failed(true);
    let left = [voter("a", 1), unstarted("f", 2)];
    assert_eq!(word(world.apply(drop_learner("f", 2))), "Etcd", "it has not been seen");
    observe(&mut world, &left);
    world.done(drop_learner("f", 2));
    let events = world.state.last_event;
    world.done(drop_learner("f", 2));
    assert_eq!((view(&world).removals.len(), world.state.last_event), (1, events), "decided twice is decided once");
    observe(&mut world, &left);
    assert_eq!(view(&world).removals.len(), 1, "it is not gone yet");
    assert_eq!(permit(&world).holder, Some(holder));
    observe(&mut world, &[voter("a", 1)]);
    assert!(view(&world).removals.is_empty() && permit(&world).holder.is_none());
    assert!(has_event(&world, "EtcdMemberRemoved"));
}

#[test]
fn what_a_removed_node_left_is_taken_out_though_its_record_is_gone() {
    let (mut world, holder) = one_at_etcd();
    observe(&mut world, &[voter("a", 1), unstarted("f", 2)]);
    assert_eq!(word(world.apply(drop_learner("f", 2))), "Etcd", "it may still come");
    world.done(RemoveNode { node: holder, reason: String::new() });
    world.done(drop_learner("f", 2));
}

#[test]
fn nothing_else_is_ever_taken_out_without_an_operator() {
    for (what, clean, member) in [
        ("of another address", true, unstarted("f", 9)),
        ("of an address that begins alike", true, unstarted("f", 22)),
        ("started", true, watched("f", 2, true, true, false)),
        ("a voter", true, voter("f", 2)),
        ("a voter that never started", true, watched("f", 2, false, false, false)),
        ("of a machine that was not reset", false, unstarted("f", 2)),
    ] {
        let (mut world, _) = failed(clean);
        let url = member.member.peer_urls[0].clone();
        observe(&mut world, &[voter("a", 1), member]);
        let drop = DropEtcdLearner { cluster: c1(), member: "f".into(), peer_url: url };
        assert_eq!(word(world.apply(drop)), "Etcd", "{what}");
        assert!(view(&world).removals.is_empty());
    }
    let (mut world, _) = failed(true);
    observe(&mut world, &[voter("a", 1), unstarted("f", 2)]);
    assert_eq!(word(world.apply(drop_learner("a", 1))), "Etcd", "another id");
    assert_eq!(word(world.apply(drop_learner("f", 3))), "Etcd", "another URL than was seen");
    world.done(ObserveEtcd { cluster: c1(), after: 0, seen: EtcdSeen::Nothing("refused".into()) });
    assert_eq!(word(world.apply(drop_learner("f", 2))), "Etcd", "what is known is not what is");
}

#[test]
fn a_declared_address_counts_and_not_what_the_machine_claims() {
    let (mut world, holder) = one_at_etcd();
    world.report(&holder, failure("Timeout", true));
    let cluster = world.state.clusters.get_mut(&c1()).unwrap();
    let named = muster_state::record::NamedNode {
        name: crate::world::name("cp2"),
        address: "192.0.2.77".into(),
        selector: Default::default(),
    };
    cluster.spec.pools[0].nodes.push(named);
    world.advance_to(&holder, Verb::JoinEtcd);
    assert_eq!(permit(&world).addresses, ["192.0.2.77"]);
    world.report(&holder, failure("Timeout", true));
    observe(&mut world, &[voter("a", 1), unstarted("e", 2), unstarted("f", 77)]);
    assert_eq!(word(world.apply(drop_learner("e", 2))), "Etcd");
    world.done(drop_learner("f", 77));
}

#[test]
fn a_member_that_changed_since_it_was_decided_is_kept() {
    let (mut world, _) = failed(true);
    observe(&mut world, &[voter("a", 1), unstarted("f", 2)]);
    world.done(drop_learner("f", 2));
    observe(&mut world, &[voter("a", 1), watched("f", 2, true, true, true)]);
    assert!(view(&world).removals.is_empty() && has_event(&world, "EtcdMemberKept"));

    let three = |c_healthy| [voter("a", 1), voter("b", 2), watched("c", 3, true, false, c_healthy)];
    observe(&mut world, &three(true));
    world.done(remove("a"));
    assert_eq!(word(world.apply(remove("b"))), "Etcd", "one after the other");
    observe(&mut world, &three(false));
    assert!(view(&world).removals.is_empty(), "without it etcd would stop now");
    assert_eq!(word(world.apply(remove("a"))), "Etcd");
    assert_eq!(word(world.apply(remove("x"))), "NotFound");
    world.done(remove("c"));
    let end = EndEtcdRemoval { cluster: c1(), member: "c".into(), problem: "etcd refuses".into() };
    world.done(end.clone());
    assert!(view(&world).removals.is_empty());
    let events = world.state.last_event;
    world.done(end);
    assert_eq!(world.state.last_event, events, "late or twice is no harm");
}

#[test]
fn a_machine_whose_old_voter_is_listed_waits_with_the_command_to_run_and_holds_up_nobody() {
    let (mut world, holder) = one_at_etcd();
    let members = Some(vec![EtcdMember { learner: false, ..voter("b", 2).member }]);
    world.report(&holder, StepOutcome::Succeeded { members, observation: None });
    // Machine 3 was a control plane once, and is new again; machine 4 is new.
    observe(&mut world, &[voter("a", 1), voter("b", 2), watched("c", 3, true, false, false)]);
    let (old, new) = (machine(&mut world, 3), machine(&mut world, 4));
    for node in [&old, &new] {
        while world.node(node).current_step().is_none_or(|step| step.verb != Verb::JoinEtcd) {
            for verb in crate::world::friendly::next(&world.state) {
                if !matches!(&verb, muster_state::Verb::GrantPermit(_)) {
                    let _ = world.command(muster_state::Command { request: None, verb });
                }
            }
            world.now_ms += 1_000;
        }
    }
    let seen = world.node(&old);
    assert_eq!(seen.phase, Phase::WaitingForEtcdPermit);
    assert!(seen.message.contains("`muster etcd remove c1 c`"), "{}", seen.message);
    assert_eq!(word(world.apply(grant(&old))), "WrongPhase");
    world.done(remove("c"));
    assert_eq!(word(world.apply(grant(&old))), "WrongPhase", "it is still there");
    assert_eq!(word(world.apply(grant(&new))), "WrongPhase", "nobody joins while somebody is taken out");
    assert!(world.node(&old).message.contains("being taken out"), "{}", world.node(&old).message);
    observe(&mut world, &[voter("a", 1), voter("b", 2)]);
    world.done(grant(&old));
}

#[test]
fn a_learner_that_never_started_is_no_hindrance_to_its_own_machine() {
    let (mut world, holder) = failed(true);
    observe(&mut world, &[voter("a", 1), unstarted("f", 2)]);
    world.advance_to(&holder, Verb::JoinEtcd);
    assert_eq!(permit(&world).holder, Some(holder));
    assert!(!permit(&world).abandoned && !permit(&world).evidence_wanted);
}
