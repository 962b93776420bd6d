//! Enrolment: every way in that must stay shut, and the ways that must be open.

use muster_state::{
    Bytes, Refusal,
    command::{
        ConfirmIdentity, DenyNode, Enrol, IssueCertificate, LockNode, RecordTokenMisuse, RemoveNode,
        RenewEnrolmentToken, RevokeToken, UpdateCluster,
    },
    facts::Selector,
    limits,
    record::{Admission, Assurance, Certificate, Role, Standing, TokenStanding},
};

use crate::world::{self, DAY_MS, World, enrol, facts, shown};

#[test]
fn a_token_that_was_used_is_refused_to_another_key() {
    let mut world = World::new();
    let token = world.token("t", "workers", None, 1);
    assert!(world.enrol(1, Some(token.clone())).unwrap().admitted);
    assert_eq!(world.enrol(2, Some(token)), Err(Refusal::TokenSpent("t".into())));
    assert_eq!(world.state.nodes.len(), 1);
}

/// Two servers take a machine each with the same token, at the same time: both commands are made before either is
/// applied. The log decides, and the second finds the use taken. Were redemption a read and then a write, both would
/// pass; `--features planted-bug-split-redemption` makes it so and turns this test red.
#[test]
fn redemption_is_one_step() {
    let mut world = World::new();
    let token = world.token("t", "workers", None, 1);
    let at_the_same_time: Vec<Enrol> = (1..=64).map(|machine| enrol(machine, Some(token.clone()))).collect();
    let replies: Vec<_> = at_the_same_time
        .into_iter()
        .map(|enrol| world.state.apply_verb(world.now_ms, enrol).map(|enrolled| enrolled.admitted))
        .collect();
    assert_eq!(replies.iter().filter(|reply| **reply == Ok(true)).count(), 1, "exactly one machine wins");
    let losers = replies.iter().filter(|reply| **reply == Err(Refusal::TokenSpent("t".into())));
    assert_eq!(losers.count(), 63);
    assert_eq!(world.state.enrolment_tokens[&"t".into()].used_by.len(), 1);
}

/// Ids are minted at random, so that this would be a fault of whoever mints.
#[test]
fn the_id_of_a_removed_machine_does_not_use_its_token_again() {
    let mut world = World::new();
    let token = world.token("t", "workers", None, 3);
    let node = world.enrol(1, Some(token.clone())).unwrap().node;
    world.done(RemoveNode { node: node.clone(), reason: String::new() });
    let again = world.enrol(1, Some(token.clone())).unwrap_err();
    assert_eq!(again, Refusal::Exists { kind: "node".into(), name: node.to_string() });
    let mut fresh = enrol(1, Some(token));
    fresh.candidate = "fresh".into();
    assert!(world.done(fresh).admitted, "the machine itself may come again");
    assert_eq!(world.state.enrolment_tokens[&"t".into()].used_by, [node, "fresh".into()]);
}

#[test]
fn a_refused_enrolment_does_not_take_the_token() {
    let mut world = World::new();
    let token = world.token("t", "queue", None, 1);
    for number in 0..limits::PENDING_PER_ADDRESS_MAX {
        let mut other = enrol(9, None);
        other.candidate = format!("flood-{number}").as_str().into();
        other.key.0[..8].copy_from_slice(&(number as u64 + 1_000_000).to_be_bytes());
        other.facts = muster_state::facts::Facts::default();
        world.state.apply_verb(world.now_ms, other).unwrap();
    }
    let full = world.enrol(1, Some(token.clone())).unwrap_err();
    assert_eq!(full.word(), "QueueFull");
    assert!(world.state.enrolment_tokens[&"t".into()].used_by.is_empty());
    let mut elsewhere = enrol(1, Some(token));
    elsewhere.from = "198.51.100.1".into();
    assert!(!world.done(elsewhere).admitted);
}

#[test]
fn an_expired_token_is_refused_until_it_is_renewed() {
    let mut world = World::new();
    let token = world.token("t", "workers", None, 1);
    world.now_ms += DAY_MS;
    assert_eq!(world.enrol(1, Some(token.clone())), Err(Refusal::TokenExpired("t".into())));
    world.done(RenewEnrolmentToken { id: "t".into(), ttl_ms: DAY_MS });
    assert!(world.enrol(1, Some(token)).unwrap().admitted);
}

#[test]
fn a_revoked_token_is_refused_for_good() {
    let mut world = World::new();
    let token = world.token("t", "workers", None, 1);
    world.done(RevokeToken { id: "t".into() });
    assert_eq!(world.enrol(1, Some(token)), Err(Refusal::TokenRevoked("t".into())));
    let renewed = world.apply(RenewEnrolmentToken { id: "t".into(), ttl_ms: DAY_MS });
    assert_eq!(renewed, Err(Refusal::TokenRevoked("t".into())));
}

#[test]
fn an_unknown_token_and_a_wrong_secret_are_not_told_apart() {
    let mut world = World::new();
    let (id, _) = world.token("t", "workers", None, 1);
    assert_eq!(world.enrol(1, Some(shown("nobody-made-it"))), Err(Refusal::TokenUnknown));
    assert_eq!(world.enrol(1, Some((id, world::digest(99)))), Err(Refusal::TokenUnknown));
}

#[test]
fn a_token_opens_the_cluster_it_is_for_and_no_other() {
    let mut world = World::new();
    world.done(world::create("c2"));
    world.done(world::token("t", "c2", "workers", None, 1));
    let node = world.enrol(1, Some(shown("t"))).unwrap().node;
    assert_eq!(world.node(&node).placement().unwrap().cluster, "c2".into());
    let elsewhere = world.apply(world::token("u", "c3", "workers", None, 1));
    assert_eq!(elsewhere, Err(Refusal::not_found("cluster", "c3")));
}

#[test]
fn a_workers_token_makes_no_control_plane() {
    let mut world = World::new();
    let token = world.token("t", "workers", None, 1);
    let mut asks = enrol(1, Some(token.clone()));
    asks.facts.wanted_role = "control-plane".into();
    assert_eq!(world.apply(asks).unwrap_err().word(), "NotYourToken");
    let node = world.enrol(1, Some(token)).unwrap().node;
    assert_eq!(world.node(&node).placement().unwrap().role, Role::Worker);
}

#[test]
fn a_control_planes_pool_can_not_admit_by_token() {
    let mut world = World::new();
    let mut spec = world::spec("c1");
    spec.pools[0].admission = Admission::Token;
    let refused = world.apply(UpdateCluster { id: "c1".into(), revision: 1, spec }).unwrap_err();
    assert!(refused.to_string().contains("approve or bound"), "{refused}");
    let token = world.token("t", "control", None, 1);
    assert!(!world.enrol(1, Some(token)).unwrap().admitted, "an unbound token only leads into the queue");
}

#[test]
fn a_bound_token_is_for_its_node_and_its_machine() {
    let mut world = World::new();
    let token = world.token("t", "workers", Some("w-listed"), 1);
    let mut wrong_machine = enrol(1, Some(token.clone()));
    assert_eq!(world.apply(wrong_machine.clone()).unwrap_err().word(), "NotYourToken");
    wrong_machine.facts.serial = "rack-7".into();
    wrong_machine.facts.wanted_node_name = "w-other".into();
    assert_eq!(world.apply(wrong_machine.clone()).unwrap_err().word(), "NotYourToken");
    wrong_machine.facts.wanted_node_name = String::new();
    let node = world.done(wrong_machine).node;
    let place = world.node(&node).placement().unwrap();
    assert_eq!((place.name.as_str(), place.assurance), ("w-listed", Assurance::Bound));
}

#[test]
fn a_token_with_a_selector_is_for_that_hardware() {
    let mut world = World::new();
    let selector = Selector { uuid: "uuid-2".into(), ..Selector::default() };
    world.done(muster_state::command::CreateEnrolmentToken { selector, ..world::token("t", "c1", "workers", None, 1) });
    assert_eq!(world.enrol(1, Some(shown("t"))).unwrap_err().word(), "NotYourToken");
    assert!(world.enrol(2, Some(shown("t"))).unwrap().admitted);
}

#[test]
fn a_token_whose_name_is_taken_is_refused_and_keeps_its_use() {
    let mut world = World::new();
    world.control_plane(1, "cp1");
    let token = world.token("second", "control", Some("cp1"), 1);
    assert_eq!(world.enrol(2, Some(token)).unwrap_err().word(), "NameTaken");
    assert_eq!(world.state.enrolment_tokens[&"second".into()].standing(world.now_ms), TokenStanding::Live);
}

#[test]
fn a_claimed_host_name_never_becomes_a_node_name() {
    let mut world = World::new();
    let token = world.token("t", "workers", None, 1);
    let mut claims = enrol(1, Some(token));
    (claims.facts.hostname, claims.facts.wanted_node_name) = ("cp1".into(), "cp1".into());
    let node = world.done(claims).node;
    assert_eq!(world.node(&node).placement().unwrap().name.as_str(), "workers-n01node");
}

#[test]
fn a_second_machine_of_one_uuid_waits_for_an_operator_whatever_its_token() {
    let mut world = World::new();
    let first = world.worker(1);
    let token = world.token("t", "workers", None, 1);
    let mut twin = enrol(2, Some(token));
    twin.facts.uuid = facts(1).uuid.to_uppercase();
    let enrolled = world.done(twin);
    assert!(!enrolled.admitted && enrolled.message.contains("UUID"), "{}", enrolled.message);
    assert!(world.node(&first).placement().is_some(), "nothing of the first one moves");
    assert!(world.state.events.iter().any(|event| event.reason == "DuplicateHardware" && event.warning));
}

#[test]
fn a_lost_answer_is_given_again_until_the_certificate_is_used() {
    let mut world = World::new();
    let token = world.token("t", "workers", None, 1);
    let node = world.enrol(1, Some(token.clone())).unwrap().node;
    let certificate = Certificate { chain: vec![Bytes(vec![1])], not_after_ms: world.now_ms + DAY_MS };
    let key = world::digest(1);
    assert_eq!(world.done(IssueCertificate { node: node.clone(), key, certificate: certificate.clone() }), certificate);
    let other = Certificate { chain: vec![Bytes(vec![2])], ..certificate.clone() };
    assert_eq!(world.done(IssueCertificate { node: node.clone(), key, certificate: other.clone() }), certificate);
    for _ in 0..2 {
        assert_eq!(world.enrol(1, Some(token.clone())).unwrap().certificate, Some(certificate.clone()));
    }
    let mut other_seal = enrol(1, None);
    other_seal.sealing_key = Bytes(vec![77]);
    assert_eq!(world.apply(other_seal).unwrap_err().word(), "SeenDiffers");
    // A machine that was off for longer than the certificate lives gets a new one.
    world.now_ms += DAY_MS;
    assert_eq!(world.enrol(1, None).unwrap().certificate, None);
    let fresh = Certificate { not_after_ms: world.now_ms + DAY_MS, ..other };
    assert_eq!(world.done(IssueCertificate { node: node.clone(), key, certificate: fresh.clone() }), fresh);
    world.done(ConfirmIdentity { node, key });
    assert_eq!(world.enrol(1, Some(token)), Err(Refusal::AlreadyEnrolled));
}

/// A pending machine that is denied keeps its token's use: giving it back would let the same thief try again.
#[test]
fn a_denied_machine_gets_nothing_and_its_token_stays_used() {
    let mut world = World::new();
    let token = world.token("t", "queue", None, 1);
    let node = world.enrol(1, Some(token.clone())).unwrap().node;
    world.done(DenyNode { node: node.clone(), reason: "not ours".into() });
    assert_eq!(world.enrol(1, Some(token.clone())), Err(Refusal::Denied("not ours".into())));
    assert_eq!(world.enrol(2, Some(token)), Err(Refusal::TokenSpent("t".into())));
    assert!(matches!(world.node(&node).standing, Standing::Denied(_)));
    world.now_ms += limits::DENIED_KEPT_MS;
    world.done(muster_state::command::Sweep {});
    assert!(!world.state.nodes.contains_key(&node), "a denial is not remembered for ever");
}

#[test]
fn a_locked_machine_gets_no_answer() {
    let mut world = World::new();
    let node = world.worker(1);
    world.done(LockNode { node: node.clone(), reason: String::new() });
    assert_eq!(world.enrol(1, None).unwrap_err().word(), "Locked");
    let certificate = Certificate { chain: Vec::new(), not_after_ms: u64::MAX };
    let issued = world.apply(IssueCertificate { node, key: world::digest(1), certificate });
    assert_eq!(issued.unwrap_err().word(), "Locked");
}

#[test]
fn an_id_that_is_taken_overwrites_nobody() {
    let mut world = World::new();
    let first = world.worker(1);
    let token = world.token("t", "workers", None, 1);
    let mut thief = enrol(2, Some(token));
    thief.candidate = first.clone();
    assert_eq!(world.apply(thief).unwrap_err().word(), "Exists");
    assert_eq!(world.node(&first).identity.key, world::digest(1));
}

#[test]
fn asking_again_wakes_nobody() {
    let mut world = World::new();
    let node = world.pending(1);
    let revision = world.node(&node).revision;
    let again = muster_state::Command { request: None, verb: enrol(1, None).into() };
    assert_eq!(world.command(again).changes, vec![]);
    assert_eq!(world.node(&node).revision, revision);
}

#[test]
fn claims_are_cut_to_their_bounds() {
    let mut world = World::new();
    let mut huge = enrol(1, None);
    huge.facts.hostname = "h".repeat(100_000);
    huge.facts.macs = (0..100_000).map(|mac| mac.to_string()).collect();
    huge.from = "f".repeat(100_000);
    let node = world.done(huge).node;
    assert!(serde_json::to_vec(world.node(&node)).unwrap().len() < 16_000);
    let mut request = enrol(2, None);
    request.csr = Bytes(vec![0; limits::CSR_MAX + 1]);
    assert_eq!(world.apply(request).unwrap_err().word(), "Invalid");
}

#[test]
fn whoever_comes_with_a_used_token_raises_an_alarm_on_the_winner_a_bounded_number_of_times() {
    let mut world = World::new();
    let (id, sha256) = world.token("t", "workers", None, 1);
    let misuse = RecordTokenMisuse { token: id.clone(), sha256, key: world::digest(2), from: "192.0.2.66".into() };
    assert!(world.apply(misuse.clone()).is_err(), "it can still be used");
    let winner = world.enrol(1, Some((id, sha256))).unwrap().node;
    let guess = RecordTokenMisuse { sha256: world::digest(0), ..misuse.clone() };
    assert_eq!(world.apply(guess), Err(Refusal::TokenUnknown));
    for _ in 0..50 {
        world.done(misuse.clone());
    }
    let alarms = world.state.events.iter().filter(|event| event.reason == "TokenMisused");
    let alarms: Vec<_> = alarms.inspect(|event| assert_eq!(event.node.as_ref(), Some(&winner))).collect();
    assert_eq!(alarms.len(), limits::MISUSES_TOLD_MAX as usize);
    assert!(world.node(&winner).locked.is_none());
}

#[test]
fn a_removed_machine_may_come_again_with_a_new_token_only() {
    let mut world = World::new();
    let token = world.token("t", "workers", None, 1);
    let node = world.enrol(1, Some(token.clone())).unwrap().node;
    world.done(RemoveNode { node, reason: String::new() });
    assert_eq!(world.enrol(1, Some(token)), Err(Refusal::TokenSpent("t".into())));
    let fresh = world.token("u", "workers", None, 1);
    let mut again = enrol(1, Some(fresh));
    again.candidate = "another".into();
    assert!(world.done(again).admitted);
}
