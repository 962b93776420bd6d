//! The strict mode: nobody gets a certificate while the token of the request may be in other hands as well.

use std::collections::BTreeSet;

use muster_state::{
    NodeId, TokenId,
    command::{
        LockNode, MintBootstrapToken, MoveTokens, RemoveNode, Report, RevokeToken, StepOutcome, Sweep, TokenStep,
        UnlockNode, UpdateCluster,
    },
    csr::{CsrClaim, CsrContent, CsrDecision, CsrLook},
    limits::{HOLD_SETTLES_MS, TOKEN_FORGOTTEN_MS},
    record::{BootstrapTokenState, ClusterSpec, CsrApproval, Hold, Link, Purpose, Role, Verb},
};
use proptest::prelude::*;

use crate::{
    linking::{ask, attacks, has_event, honest, is_denied, node_name},
    world::{HOUR_MS, World, name, secret},
};

/// A strict cluster with worker `id` in the middle of its join, and the token it joins with.
fn mk_joining() -> (World, NodeId, TokenId) {
    let mut world = World::approving(CsrApproval::Strict);
    let first = world.control_plane(1, "cp1");
    world.advance_to(&first, Verb::WaitReady);
    let id = world.worker(2);
    world.advance_to(&id, Verb::JoinWorker);
    let token = world.node(&id).bootstrap_token.clone().unwrap();
    (world, id, token)
}

/// The same, and its kubelet starts; with what that asks for.
fn mk_asking() -> (World, NodeId, TokenId, CsrClaim) {
    let (mut world, id, token) = mk_joining();
    says(&mut world, &id, "join", "kubelet-start");
    let claim = honest(&node_name(&world, &id), &token);
    (world, id, token, claim)
}

fn says(world: &mut World, id: &NodeId, step: &str, phase: &str) {
    let outcome = StepOutcome::Running { phase: phase.into(), observation: None };
    report(world, id, step, outcome);
}

fn report(world: &mut World, id: &NodeId, step: &str, outcome: StepOutcome) {
    let attempt = world.node(id).attempt;
    let _ = world.apply(Report { node: id.clone(), attempt, step: step.into(), outcome, elapsed_ms: 1 });
}

fn fails(world: &mut World, id: &NodeId) {
    let outcome = StepOutcome::Failed { cause: "Timeout".into(), message: String::new(), clean: true };
    report(world, id, "join", outcome);
}

/// The link deletes what has ended.
fn delete(world: &mut World) {
    let ending = |state: &BootstrapTokenState| *state == BootstrapTokenState::Ending;
    let tokens = world.state.bootstrap_tokens.values().filter(|token| ending(&token.state));
    let tokens = tokens.map(|token| token.id.clone()).collect();
    world.done(MoveTokens { cluster: "c1".into(), tokens, to: TokenStep::Deleted });
}

fn state_of(world: &World, token: &TokenId) -> BootstrapTokenState {
    world.state.bootstrap_tokens[token].state
}

fn is_held(decision: &CsrDecision) -> bool {
    matches!(decision, CsrDecision::Hold(_))
}

fn look(world: &World, uid: &str, claim: &CsrClaim) -> CsrLook {
    world.state.look_at_csr(&"c1".into(), uid, claim, world.now_ms)
}

/// Held, its token ended and deleted: in a moment it will be approved.
fn mk_almost() -> (World, NodeId, TokenId, CsrClaim) {
    let (mut world, id, token, claim) = mk_asking();
    assert!(is_held(&ask(&mut world, "u1", &claim)));
    world.now_ms += HOLD_SETTLES_MS;
    assert!(is_held(&ask(&mut world, "u1", &claim)));
    delete(&mut world);
    (world, id, token, claim)
}

#[test]
fn the_only_request_is_approved_when_nobody_can_make_another_one() {
    let (mut world, id, token, claim) = mk_asking();
    assert_eq!(look(&world, "u1", &claim), CsrLook::Due);
    assert!(is_held(&ask(&mut world, "u1", &claim)));
    assert_eq!(look(&world, "u1", &claim), CsrLook::Waits);
    assert!(has_event(&world, "CsrHeld") && state_of(&world, &token) == BootstrapTokenState::Present);
    world.now_ms += HOLD_SETTLES_MS;
    assert_eq!(look(&world, "u1", &claim), CsrLook::Due);
    assert!(is_held(&ask(&mut world, "u1", &claim)));
    assert_eq!(state_of(&world, &token), BootstrapTokenState::Ending);
    world.now_ms += HOUR_MS / 10;
    assert!(is_held(&ask(&mut world, "u1", &claim)), "the link is down: the Secret is there still");
    delete(&mut world);
    assert!(is_held(&ask(&mut world, "u1", &claim)), "API servers remember it");
    world.now_ms += TOKEN_FORGOTTEN_MS - 1;
    assert_eq!(look(&world, "u1", &claim), CsrLook::Fading);
    assert!(is_held(&ask(&mut world, "u1", &claim)));
    world.now_ms += 1;
    assert_eq!(look(&world, "u1", &claim), CsrLook::Ripe);
    assert_eq!(ask(&mut world, "u1", &claim), CsrDecision::Approve);
    assert_eq!(look(&world, "u1", &claim), CsrLook::Due, "what is decided is done, as often as it takes");
    assert_eq!(ask(&mut world, "u1", &claim), CsrDecision::Approve, "a new leader asks again");
    let node = world.node(&id);
    assert!(node.requests.len() == 1 && node.requests[0].approved && node.requests[0].hold == Hold::Passed);
    assert!(node.locked.is_none() && has_event(&world, "CsrApproved"));
}

#[test]
fn what_is_asked_about_a_held_request_again_changes_and_tells_nothing() {
    let (mut world, _, _, claim) = mk_asking();
    ask(&mut world, "u1", &claim);
    let before = world.state.clone();
    world.now_ms += 1;
    ask(&mut world, "u1", &claim);
    assert_eq!((world.state.last_event, &world.state.nodes), (before.last_event, &before.nodes));
}

#[test]
fn a_second_request_denies_both_and_locks_the_node_whoever_was_first_and_whenever_it_comes() {
    for wait_ms in [0, HOLD_SETTLES_MS, HOLD_SETTLES_MS + 9_000] {
        let (mut world, id, token, claim) = mk_asking();
        assert!(is_held(&ask(&mut world, "first", &claim)));
        if wait_ms > 0 {
            world.now_ms += HOLD_SETTLES_MS;
            assert!(is_held(&ask(&mut world, "first", &claim)));
            delete(&mut world);
            world.now_ms += wait_ms - HOLD_SETTLES_MS;
        }
        assert!(is_denied(&ask(&mut world, "second", &claim)), "{wait_ms}");
        assert!(world.node(&id).locked.as_ref().unwrap().contains(token.as_str()));
        assert_eq!(look(&world, "first", &claim), CsrLook::Due);
        assert!(is_denied(&ask(&mut world, "first", &claim)), "{wait_ms}");
        delete(&mut world);
        world.now_ms += HOUR_MS;
        world.done(UnlockNode { node: id.clone() });
        for uid in ["first", "second", "third"] {
            assert!(is_denied(&ask(&mut world, uid, &claim)), "{wait_ms}: {uid}");
        }
        assert!(world.node(&id).requests.iter().all(|seen| !seen.approved && !seen.hold.is_on()));
    }
}

#[test]
fn a_request_that_comes_before_its_machines_kubelet_has_started_leaves_the_token_for_that() {
    let (mut world, id, token) = mk_joining();
    let claim = honest(&node_name(&world, &id), &token);
    says(&mut world, &id, "join", "preflight");
    for _ in 0..20 {
        assert!(is_held(&ask(&mut world, "thief", &claim)));
        world.now_ms += TOKEN_FORGOTTEN_MS;
    }
    assert_eq!(state_of(&world, &token), BootstrapTokenState::Present);
    assert!(is_denied(&ask(&mut world, "own", &claim)));
    assert!(is_denied(&ask(&mut world, "thief", &claim)) && world.node(&id).locked.is_some());
}

#[test]
fn the_kubelet_of_a_control_plane_asks_when_its_etcd_joins() {
    let (mut world, _, _) = mk_joining();
    let id = world.control_plane(3, "cp2");
    world.advance_to(&id, Verb::JoinEtcd);
    let token = world.node(&id).bootstrap_token.clone().unwrap();
    let mut claim = honest("cp2", &token);
    claim.groups.remove("system:bootstrappers:muster:c1:worker");
    claim.groups.insert("system:bootstrappers:muster:c1:control-plane".into());
    assert!(is_held(&ask(&mut world, "u1", &claim)));
    assert_eq!(world.node(&id).requests[0].hold, Hold::Early);
    says(&mut world, &id, "etcd-join", "etcd");
    assert!(is_held(&ask(&mut world, "u1", &claim)));
    assert_eq!(world.node(&id).requests[0].hold, Hold::Settling);
    world.now_ms += HOLD_SETTLES_MS;
    ask(&mut world, "u1", &claim);
    delete(&mut world);
    world.now_ms += TOKEN_FORGOTTEN_MS;
    assert_eq!(ask(&mut world, "u1", &claim), CsrDecision::Approve);
}

#[test]
fn what_is_wrong_is_denied_at_once_and_the_machines_own_is_then_the_second_one() {
    let (world, id, _, claim) = mk_asking();
    for (what, attack) in attacks(&claim) {
        let mut world = World { state: world.state.clone(), now_ms: world.now_ms };
        assert!(is_denied(&ask(&mut world, "thief", &attack)), "{what}");
        assert!(is_denied(&ask(&mut world, "own", &claim)) && world.node(&id).locked.is_some(), "{what}");
        let mut world = World { state: world.state.clone(), now_ms: world.now_ms };
        assert!(is_denied(&ask(&mut world, "own", &claim)), "{what}");
    }
}

#[test]
fn what_becomes_of_the_node_or_its_token_meanwhile_denies_what_is_held() {
    let denied = |what: &str, change: &dyn Fn(&mut World, &NodeId, &TokenId)| {
        for almost in [false, true] {
            let (mut world, id, token, claim) = if almost { mk_almost() } else { mk_asking() };
            if !almost {
                assert!(is_held(&ask(&mut world, "u1", &claim)));
            }
            change(&mut world, &id, &token);
            delete(&mut world);
            assert_eq!(look(&world, "u1", &claim), CsrLook::Due, "{what}");
            world.now_ms += TOKEN_FORGOTTEN_MS;
            assert!(is_denied(&ask(&mut world, "u1", &claim)), "{what}");
        }
    };
    denied("locked", &|world, id, _| world.done(LockNode { node: id.clone(), reason: String::new() }));
    denied("removed", &|world, id, _| world.done(RemoveNode { node: id.clone(), reason: "gone".into() }));
    denied("its join has failed", &|world, id, _| fails(world, id));
    denied("its join begins anew", &|world, id, _| {
        fails(world, id);
        world.now_ms += HOUR_MS / 10;
        world.advance_to(id, Verb::JoinWorker);
        says(world, id, "join", "kubelet-start");
    });
    denied("the token is taken back", &|world, _, token| world.done(RevokeToken { id: token.clone() }));
}

#[test]
fn a_token_that_runs_out_while_its_request_is_held_is_not_known_to_be_gone() {
    let (mut world, _, token, claim) = mk_asking();
    ask(&mut world, "u1", &claim);
    world.now_ms += HOLD_SETTLES_MS;
    ask(&mut world, "u1", &claim);
    world.now_ms = world.state.bootstrap_tokens[&token].expires_ms;
    world.done(Sweep {});
    assert_eq!(state_of(&world, &token), BootstrapTokenState::Deleted);
    world.now_ms += HOUR_MS;
    assert!(is_denied(&ask(&mut world, "u1", &claim)));
}

#[test]
fn a_join_that_fails_after_its_request_was_approved_raises_an_alarm() {
    let (mut world, id, _, claim) = mk_almost();
    world.now_ms += TOKEN_FORGOTTEN_MS;
    assert_eq!(ask(&mut world, "u1", &claim), CsrDecision::Approve);
    assert!(!has_event(&world, "CertificateDoubted"));
    fails(&mut world, &id);
    assert!(has_event(&world, "CertificateDoubted") && world.node(&id).locked.is_none());
    let (mut world, id, ..) = mk_almost();
    fails(&mut world, &id);
    assert!(!has_event(&world, "CertificateDoubted"), "nobody has one");
}

fn with(world: &World, csr_approval: CsrApproval) -> UpdateCluster {
    let cluster = &world.state.clusters[&"c1".into()];
    let spec = ClusterSpec { link: Some(Link { csr_approval }), ..cluster.spec.clone() };
    UpdateCluster { id: "c1".into(), revision: cluster.revision, spec }
}

#[test]
fn a_cluster_becomes_strict_and_is_no_more_while_it_runs_but_who_approves_stays() {
    let (mut world, _, _, claim) = mk_asking();
    assert!(is_held(&ask(&mut world, "u1", &claim)));
    assert_eq!(world.apply(with(&world, CsrApproval::Auto)).unwrap_err().word(), "Invalid");
    world.done(with(&world, CsrApproval::Muster));
    assert_eq!(look(&world, "u1", &claim), CsrLook::Ripe);
    assert_eq!(ask(&mut world, "u1", &claim), CsrDecision::Approve);
    world.done(with(&world, CsrApproval::Strict));
    assert_eq!(ask(&mut world, "u1", &claim), CsrDecision::Approve, "it was decided");
}

#[test]
fn what_was_approved_before_a_cluster_became_strict_stays_so() {
    let (mut world, id, _, claim) = mk_asking();
    world.done(with(&world, CsrApproval::Muster));
    assert_eq!(ask(&mut world, "u1", &claim), CsrDecision::Approve);
    world.done(with(&world, CsrApproval::Strict));
    assert_eq!(ask(&mut world, "u1", &claim), CsrDecision::Approve);
    assert_eq!(world.node(&id).requests.len(), 1);
}

/// A line for `w9` whose token is in the cluster, and what its kubelet asks for.
fn mk_line() -> (World, CsrClaim) {
    let (mut world, _, _) = mk_joining();
    let purpose = Purpose::NamedJoinCommand(Role::Worker, name("w9"));
    let (id, cluster) = ("line".into(), "c1".into());
    world.done(MintBootstrapToken { id, cluster, purpose, secret: secret(9), ttl_ms: HOUR_MS });
    for to in [TokenStep::Offered, TokenStep::Present] {
        world.done(MoveTokens { cluster: "c1".into(), tokens: vec!["line".into()], to });
    }
    let claim = honest("w9", &"line".into());
    (world, claim)
}

#[test]
fn the_request_of_a_line_for_a_name_is_held_as_well() {
    let (mut world, claim) = mk_line();
    let line: TokenId = "line".into();
    assert!(is_held(&ask(&mut world, "u1", &claim)));
    world.now_ms += HOLD_SETTLES_MS;
    assert!(is_held(&ask(&mut world, "u1", &claim)));
    assert_eq!(state_of(&world, &line), BootstrapTokenState::Ending);
    delete(&mut world);
    world.now_ms += TOKEN_FORGOTTEN_MS;
    let taken = CsrClaim { node_is_ready: true, ..claim.clone() };
    assert_eq!((look(&world, "u1", &claim), look(&world, "u1", &taken)), (CsrLook::Ripe, CsrLook::Due));
    assert_eq!(ask(&mut world, "u1", &claim), CsrDecision::Approve);
    assert!(is_denied(&ask(&mut world, "late", &claim)));
}

#[test]
fn two_requests_of_one_line_are_both_denied_and_it_is_told_once() {
    let (mut world, claim) = mk_line();
    assert!(is_held(&ask(&mut world, "u1", &claim)));
    world.now_ms += HOLD_SETTLES_MS;
    assert!(is_held(&ask(&mut world, "u1", &claim)));
    for uid in ["u2", "u3", "u1", "u2"] {
        assert!(is_denied(&ask(&mut world, uid, &claim)));
    }
    let stolen: Vec<_> = world.state.events.iter().filter(|event| event.reason == "JoinLineStolen").collect();
    assert!(stolen.len() == 1 && stolen[0].message.contains("nobody has got a certificate"), "{stolen:?}");
    delete(&mut world);
    world.now_ms += TOKEN_FORGOTTEN_MS;
    assert!(is_denied(&ask(&mut world, "u1", &claim)));
    let requests = &world.state.bootstrap_tokens[&TokenId::from("line")].requests;
    assert!(requests.len() == 3 && requests.iter().all(|seen| !seen.approved && !seen.hold.is_on()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever happens in which order, who is approved is the only one who ever came with the token, after nobody else can have.
    #[test]
    fn nobody_is_approved_while_another_may_hold_the_token(actions in prop::collection::vec((0_u8..20, 0_u64..16_000), 1..60)) {
        let (mut world, id, token) = mk_joining();
        let claim = honest(&node_name(&world, &id), &token);
        let mut wrong = claim.clone();
        wrong.content = Some(CsrContent { common_names: vec!["system:node:cp1".into()], ..claim.content.clone().unwrap() });
        let (mut came, mut approved) = (BTreeSet::new(), BTreeSet::new());
        let (mut has_started, mut is_off) = (false, false);
        for (action, more) in actions {
            match action {
                0..8 => {
                    let (uid, claim) = if action == 7 { ("u2", &wrong) } else { (["u1", "u2"][usize::from(action == 6)], &claim) };
                    came.insert(uid);
                    if ask(&mut world, uid, claim) == CsrDecision::Approve {
                        let record = &world.state.bootstrap_tokens[&token];
                        prop_assert!(came.len() == 1 && has_started && !is_off && world.node(&id).locked.is_none());
                        prop_assert_eq!(record.state, BootstrapTokenState::Deleted);
                        prop_assert!(world.now_ms >= record.deleted_ms + TOKEN_FORGOTTEN_MS);
                        approved.insert(uid);
                    }
                }
                8..12 => world.now_ms += more,
                12..15 => delete(&mut world),
                15 | 16 => {
                    says(&mut world, &id, "join", "kubelet-start");
                    has_started |= !is_off;
                }
                17 if more > 15_000 => world.done(LockNode { node: id.clone(), reason: String::new() }),
                18 if more > 15_000 => (is_off, _) = (approved.is_empty(), world.done(RevokeToken { id: token.clone() })),
                19 if more > 15_000 => {
                    is_off |= world.node(&id).locked.is_none();
                    fails(&mut world, &id);
                }
                _ => {}
            }
        }
        prop_assert!(approved.len() <= 1);
    }
}
