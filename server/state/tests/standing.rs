//! Approvals, names, identities: what an operator saw is what counts, and a copied key is noticed.

use muster_state::{
    Bytes, NodeId, Phase, Refusal,
    command::{
        ApproveNode, ConfirmIdentity, DenyNode, Instruct, IssueCertificate, LockNode, RecordHello, Release,
        RenewIdentity, Sweep, UnlockNode,
    },
    limits,
    record::{BootstrapTokenState, Certificate, Verb},
};

use crate::world::{self, DAY_MS, World, digest, enrol, facts, friendly, hello, name};

fn approval(world: &World, node: &NodeId) -> ApproveNode {
    let seen = world.node(node);
    ApproveNode {
        node: node.clone(),
        key: seen.identity.key,
        facts_revision: seen.facts_revision,
        cluster: None,
        pool: Some("queue".into()),
        name: None,
        replace: false,
    }
}

#[test]
fn an_approval_of_another_key_or_of_other_claims_is_refused() {
    let mut world = World::new();
    let node = world.pending(1);
    let seen = approval(&world, &node);
    let refused = world.apply(ApproveNode { key: digest(9), ..seen.clone() });
    assert_eq!(refused, Err(Refusal::SeenDiffers { what: "the key fingerprint".into() }));
    let mut changed = enrol(1, None);
    changed.facts.hostname = "another".into();
    world.done(changed);
    assert_eq!(world.apply(seen), Err(Refusal::SeenDiffers { what: "what the machine claims".into() }));
    let seen = approval(&world, &node);
    let mut reseals = enrol(1, None);
    reseals.facts.hostname = "another".into();
    reseals.sealing_key = Bytes(vec![66]);
    world.done(reseals);
    assert_eq!(world.apply(seen).unwrap_err().word(), "SeenDiffers", "the sealing key was seen too");
    let seen = approval(&world, &node);
    world.done(seen.clone());
    assert_eq!(world.apply(seen).unwrap_err().word(), "WrongPhase", "once is enough");
}

#[test]
fn a_locked_or_denied_machine_is_not_approved() {
    let mut world = World::new();
    let node = world.pending(1);
    let seen = approval(&world, &node);
    world.done(LockNode { node: node.clone(), reason: String::new() });
    assert_eq!(world.apply(seen.clone()).unwrap_err().word(), "Locked");
    world.done(UnlockNode { node: node.clone() });
    world.done(DenyNode { node, reason: String::new() });
    assert_eq!(world.apply(seen).unwrap_err().word(), "WrongPhase");
}

#[test]
fn a_name_belongs_to_one_node_and_to_the_pool_that_lists_it() {
    let mut world = World::new();
    world.control_plane(1, "cp1");
    let node = world.pending(2);
    let seen = approval(&world, &node);
    let taken = world.apply(ApproveNode { name: Some(name("cp1")), ..seen.clone() }).unwrap_err();
    assert_eq!(taken.word(), "NameTaken");
    let listed_elsewhere = world.apply(ApproveNode { name: Some(name("w-listed")), ..seen.clone() }).unwrap_err();
    assert!(listed_elsewhere.to_string().contains("workers"), "{listed_elsewhere}");
    world.done(ApproveNode { name: Some(name("w-listed")), pool: None, ..seen });
    assert_eq!(world.node(&node).placement().unwrap().pool, "workers");
}

#[test]
fn names_that_kubernetes_would_refuse_are_never_read() {
    for bad in ["W1", "w_1", "-w", "w-", "", "a..b", &"a".repeat(254)] {
        let json = serde_json::to_string(bad).unwrap();
        assert!(serde_json::from_str::<muster_state::NodeName>(&json).is_err(), "{bad}");
    }
    let mut world = World::new();
    for (field, bad) in [("metadata.name", 0), ("spec.pools[0].name", 1)] {
        let mut create = world::create("c2");
        if bad == 0 {
            create.spec.name = "C_2".into()
        } else {
            create.spec.pools[0].name = "Pool".into()
        }
        let Err(Refusal::Invalid { field: named, .. }) = world.apply(create) else { panic!("{field} was taken") };
        assert_eq!(named, field);
    }
}

#[test]
fn same_hardware_under_new_keys_takes_a_place_only_by_an_operators_word() {
    let mut world = World::new();
    let old = world.worker(1);
    let mut again = enrol(2, None);
    again.facts = facts(1);
    let node = world.done(again).node;
    let seen = ApproveNode { pool: Some("workers".into()), ..approval(&world, &node) };
    assert_eq!(world.apply(seen.clone()).unwrap_err().word(), "DuplicateHardware");
    world.done(ApproveNode { replace: true, ..seen });
    assert!(!world.state.nodes.contains_key(&old));
    assert!(world.node(&node).placement().is_some());
}

#[test]
fn a_control_plane_that_may_hold_an_etcd_member_is_not_replaced() {
    let mut world = World::new();
    let old = world.control_plane(1, "cp1");
    world.settle();
    let mut again = enrol(2, None);
    again.facts = facts(1);
    let node = world.done(again).node;
    let seen = ApproveNode { pool: Some("control".into()), replace: true, ..approval(&world, &node) };
    let refused = world.apply(seen).unwrap_err();
    assert!(refused.to_string().contains("etcd member"), "{refused}");
    assert!(world.state.nodes.contains_key(&old));
}

fn renewal(node: &NodeId, key: u8, generation: u64, new_key: u8) -> RenewIdentity {
    RenewIdentity {
        node: node.clone(),
        key: digest(key),
        generation,
        new_key: digest(new_key),
        csr: Bytes(vec![new_key]),
    }
}

#[test]
fn a_renewal_takes_effect_when_the_new_key_is_first_used() {
    let mut world = World::new();
    let node = world.worker(1);
    world.done(ConfirmIdentity { node: node.clone(), key: digest(1) });
    assert_eq!(world.done(renewal(&node, 1, 1, 101)), 2);
    assert_eq!(world.done(renewal(&node, 1, 1, 101)), 2, "the answer was lost and asked for again");
    world.done(ConfirmIdentity { node: node.clone(), key: digest(1) });
    world.done(ConfirmIdentity { node: node.clone(), key: digest(101) });
    assert_eq!(world.node(&node).identity.generation, 2);
    assert_eq!(world.apply(renewal(&node, 1, 1, 102)).unwrap_err().word(), "SeenDiffers");
    assert_eq!(world.apply(renewal(&node, 101, 1, 102)).unwrap_err().word(), "WrongGeneration");
    assert_eq!(world.enrol(1, None), Err(Refusal::AlreadyEnrolled), "an earlier key enrols nobody");
}

#[test]
fn two_keys_that_ask_to_succeed_one_generation_lock_the_node() {
    let mut world = World::new();
    let node = world.control_plane(1, "cp1");
    world.settle();
    assert_eq!(world.done(renewal(&node, 1, 1, 101)), 2);
    assert_eq!(world.done(renewal(&node, 1, 1, 102)), 0);
    assert_eq!(world.node(&node).phase, Phase::Locked);
    for refused in [
        world.apply(renewal(&node, 1, 1, 101)).err(),
        world.apply(ConfirmIdentity { node: node.clone(), key: digest(101) }).err(),
        world.apply(hello(&node, facts(1))).err(),
    ] {
        assert_eq!(refused.unwrap().word(), "Locked");
    }
    assert!(world.state.custodian(&"c1".into()).is_none(), "a locked node does no errands");
    world.done(UnlockNode { node: node.clone() });
    assert_eq!(world.done(renewal(&node, 1, 1, 102)), 2, "either may ask again after an operator looked");
}

#[test]
fn an_earlier_key_that_is_used_again_locks_the_node_and_ends_its_token() {
    let mut world = World::new();
    world.control_plane(1, "cp1");
    world.settle();
    let node = world.worker(2);
    world.advance_to(&node, Verb::JoinWorker);
    world.done(renewal(&node, 2, 1, 101));
    world.done(ConfirmIdentity { node: node.clone(), key: digest(101) });
    world.done(ConfirmIdentity { node: node.clone(), key: digest(2) });
    assert!(world.node(&node).locked.as_ref().unwrap().contains("earlier generation"));
    let token = world.node(&node).bootstrap_token.clone().unwrap();
    assert_eq!(world.state.bootstrap_tokens[&token].state, BootstrapTokenState::Ending);
}

#[test]
fn a_hello_with_a_key_confirms_it_first_and_records_nothing_for_a_copy() {
    let mut world = World::new();
    let node = world.worker(2);
    world.done(renewal(&node, 2, 1, 101));
    let shown = |key| RecordHello { key: Some(digest(key)), ..hello(&node, facts(2)) };
    world.done(shown(101));
    assert_eq!((world.node(&node).identity.generation, world.node(&node).identity.key), (2, digest(101)));
    let seen = world.node(&node).clone();
    assert_eq!(world.apply(shown(102)).unwrap_err().word(), "SeenDiffers");
    assert_eq!(world.node(&node), &seen, "nothing is recorded of a key that is nobody's");
    world.done(RecordHello { boot_id: "boot-of-the-copy".into(), ..shown(2) });
    assert!(world.node(&node).locked.as_ref().unwrap().contains("earlier generation"));
    assert_eq!(world.node(&node).boot_id, seen.boot_id);
    assert_eq!(world.apply(shown(101)).unwrap_err().word(), "Locked");
}

#[test]
fn no_key_belongs_to_two_nodes() {
    let mut world = World::new();
    let (one, two) = (world.worker(1), world.worker(2));
    assert_eq!(world.apply(renewal(&one, 1, 1, 2)).unwrap_err().word(), "Invalid");
    assert_eq!(world.apply(renewal(&one, 1, 1, 1)).unwrap_err().word(), "Invalid");
    world.done(renewal(&one, 1, 1, 101));
    assert_eq!(world.apply(renewal(&two, 2, 1, 101)).unwrap_err().word(), "Invalid");
}

#[test]
fn the_first_reason_of_a_lock_stays() {
    let mut world = World::new();
    let node = world.worker(1);
    world.done(LockNode { node: node.clone(), reason: "the key was copied".into() });
    world.done(LockNode { node: node.clone(), reason: "tidying".into() });
    assert_eq!(world.node(&node).locked.as_deref(), Some("the key was copied"));
}

#[test]
fn secrets_are_released_to_the_current_key_of_an_open_step_only() {
    let mut world = World::new();
    let node = world.control_plane(1, "cp1");
    world.advance_to(&node, Verb::Init);
    let release = Release { node: node.clone(), attempt: 1, step: "init".into(), key: digest(1), caller: "s".into() };
    for (word, wrong) in [
        ("SeenDiffers", Release { key: digest(2), ..release.clone() }),
        ("WrongPhase", Release { attempt: 2, ..release.clone() }),
        ("WrongPhase", Release { step: "join".into(), ..release.clone() }),
        ("WrongPhase", Release { step: "errand-1".into(), ..release.clone() }),
        ("NotFound", Release { node: "nobody".into(), ..release.clone() }),
    ] {
        assert_eq!(world.apply(wrong).unwrap_err().word(), word);
    }
    world.done(release.clone());
    world.done(release.clone());
    let audited = world.state.events.iter().filter(|event| event.reason == "SecretsReleased").count();
    assert_eq!(audited, 1, "a repeat to the same key is the same release");
    world.done(LockNode { node, reason: String::new() });
    assert_eq!(world.apply(release).unwrap_err().word(), "Locked");
}

#[test]
fn a_machine_that_was_not_let_in_is_told_nothing() {
    let mut world = World::new();
    let node = world.pending(1);
    let key = digest(1);
    let certificate = Certificate { chain: Vec::new(), not_after_ms: u64::MAX };
    let refused = [
        world.apply(IssueCertificate { node: node.clone(), key, certificate }).err(),
        world.apply(ConfirmIdentity { node: node.clone(), key }).err(),
        world.apply(renewal(&node, 1, 1, 101)).err(),
        world.apply(hello(&node, facts(1))).err(),
        world.apply(Instruct { node: node.clone(), steps: vec![Verb::JoinWorker], token: None }).err(),
        world.apply(Release { node, attempt: 0, step: "join".into(), key, caller: "s".into() }).err(),
    ];
    for refusal in refused {
        assert_eq!(refusal.unwrap().word(), "WrongPhase");
    }
}

#[test]
fn a_forgotten_queue_entry_goes_by_itself_but_a_locked_one_stays() {
    let mut world = World::new();
    let (gone, kept) = (world.pending(1), world.pending(2));
    world.done(LockNode { node: kept.clone(), reason: "looked at".into() });
    world.now_ms += limits::PENDING_TTL_MS + DAY_MS;
    world.done(Sweep {});
    assert!(!world.state.nodes.contains_key(&gone) && world.state.nodes.contains_key(&kept));
    assert!(!Sweep::is_due(&world.state, world.now_ms));
}

#[test]
fn a_rebooted_machine_is_noted_and_a_changed_report_is_judged_again() {
    let mut world = World::new();
    let node = world.control_plane(1, "cp1");
    world.advance_to(&node, Verb::Init);
    let mut rebooted: RecordHello = hello(&node, facts(1));
    rebooted.boot_id = "boot-2".into();
    rebooted.preflight.swap_on = true;
    world.done(rebooted);
    assert!(world.state.events.iter().any(|event| event.reason == "NodeRebooted"));
    assert!(world.node(&node).preflight_passed, "an attempt under way is not disturbed");
    world.report(&node, friendly::failure("SwapOn", true));
    assert!(!world.node(&node).preflight_passed);
}
