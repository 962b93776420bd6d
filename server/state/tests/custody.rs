//! Certificate requests of a detached cluster: a custodian sees them, the log decides, a custodian answers. Attacks included.

use std::collections::{BTreeMap, BTreeSet};

use muster_state::{
    ClusterId, NodeId, TokenId,
    command::{
        CompleteErrand, CreateCluster, ErrandOutcome, LockNode, MintBootstrapToken, OpenErrand, RemoveNode, Report,
        RevokeToken, StepOutcome, UpdateCluster,
    },
    csr::CsrClaim,
    limits,
    record::{
        BootstrapTokenState, ClusterSpec, CsrApproval, Custody, ErrandKind, Purpose, RequestsSeen, Role, SeenRequest,
        Verb, Verdict,
    },
};

use crate::{
    linking::{attacks, honest, node_name},
    world::{self, HOUR_MS, World, digest, friendly::failure, name, secret},
};

fn c1() -> ClusterId {
    "c1".into()
}

/// A detached cluster in which Muster approves: its first control plane is up, and worker `id` is in the middle of its join.
fn mk_joining() -> (World, NodeId, TokenId) {
    mk_approving(CsrApproval::Muster)
}

fn mk_approving(csr_approval: CsrApproval) -> (World, NodeId, TokenId) {
    let mut world = World { state: muster_state::State::default(), now_ms: world::START_MS };
    world.done(world::found());
    let spec = ClusterSpec { detached_approval: Some(csr_approval), ..world::spec("c1") };
    world.done(CreateCluster { spec, ..world::create("c1") });
    let first = world.control_plane(1, "cp1");
    world.advance_to(&first, Verb::WaitReady);
    let id = world.worker(2);
    world.advance_to(&id, Verb::JoinWorker);
    let token = world.node(&id).bootstrap_token.clone().unwrap();
    (world, id, token)
}

fn observe(nodes: &[&str]) -> ErrandKind {
    ErrandKind::ObserveRequests { passed_over: Vec::new(), nodes: nodes.iter().map(|node| name(node)).collect() }
}

fn request(uid: &str, claim: &CsrClaim) -> SeenRequest {
    let (uid, name, version) = (uid.to_owned(), format!("csr-{uid}"), "7".to_owned());
    SeenRequest { uid, name, version, digest: digest(1), claim: claim.clone() }
}

fn open(world: &mut World, kind: ErrandKind) -> Result<u64, muster_state::Refusal> {
    let custodian = world.state.custodian(&c1()).expect("a custodian").id.clone();
    world.apply(OpenErrand { cluster: c1(), kind, custodian })
}

fn complete(world: &mut World, number: u64, outcome: ErrandOutcome) -> Result<(), muster_state::Refusal> {
    let node = world.state.errands[&number].custodian.clone();
    world.apply(CompleteErrand { number, node, outcome })
}

/// The custodian looks, and sees these.
fn see(world: &mut World, requests: Vec<SeenRequest>) {
    let number = open(world, observe(&[])).expect("a look");
    let seen = RequestsSeen { requests, ..RequestsSeen::default() };
    complete(world, number, ErrandOutcome::Requests(seen)).expect("seen");
}

fn custody(world: &World) -> &Custody {
    world.state.clusters[&c1()].custody.as_ref().expect("somebody has looked")
}

/// uid and verdict of what is to be said.
fn due(world: &World) -> Vec<(String, bool)> {
    world.state.verdicts_due(&c1()).iter().map(|verdict| (verdict.uid.clone(), verdict.approve)).collect()
}

#[test]
fn the_request_of_a_joining_nodes_own_kubelet_is_approved_by_the_custodian_at_the_version_it_saw() {
    let (mut world, id, token) = mk_joining();
    let claim = honest(&node_name(&world, &id), &token);
    see(&mut world, vec![request("u1", &claim)]);
    assert_eq!(due(&world), [("u1".to_owned(), true)]);
    assert!(world.node(&id).requests.iter().any(|seen| seen.uid == "u1" && seen.approved));
    let verdicts = world.state.verdicts_due(&c1()).to_vec();
    assert_eq!((verdicts[0].name.as_str(), verdicts[0].version.as_str()), ("csr-u1", "7"));
    let number = open(&mut world, ErrandKind::ConcludeRequests(verdicts)).unwrap();
    complete(&mut world, number, ErrandOutcome::Done(None)).unwrap();
    assert_eq!(due(&world), []);
    assert!(world.state.errands.values().all(|errand| !errand.kind.is_of_requests()), "looks leave no errands behind");
}

#[test]
fn whatever_else_is_asked_for_with_a_nodes_token_is_denied_by_the_custodian() {
    let (world, id, token) = mk_joining();
    for (what, attack) in attacks(&honest(&node_name(&world, &id), &token)) {
        let mut world = World { state: world.state.clone(), now_ms: world.now_ms };
        see(&mut world, vec![request("thief", &attack)]);
        assert_eq!(due(&world), [("thief".to_owned(), false)], "{what}");
    }
}

#[test]
fn of_two_requests_with_one_token_in_one_look_neither_is_approved() {
    let (mut world, id, token) = mk_joining();
    let claim = honest(&node_name(&world, &id), &token);
    see(&mut world, vec![request("u1", &claim), request("u2", &claim)]);
    assert_eq!(due(&world), [("u1".to_owned(), false), ("u2".to_owned(), false)]);
    assert!(world.node(&id).locked.is_some());
}

#[test]
fn an_approval_is_recalled_when_its_node_is_locked_or_removed_or_fails_or_its_token_is_revoked() {
    let (world, id, token) = mk_joining();
    let claim = honest(&node_name(&world, &id), &token);
    let recalls: [&dyn Fn(&mut World); 4] = [
        &|world| world.done(LockNode { node: id.clone(), reason: String::new() }),
        &|world| world.done(RemoveNode { node: id.clone(), reason: String::new() }),
        &|world| world.done(RevokeToken { id: token.clone() }),
        &|world| world.report(&id, failure("Timeout", true)),
    ];
    for recall in recalls {
        let mut world = World { state: world.state.clone(), now_ms: world.now_ms };
        see(&mut world, vec![request("u1", &claim)]);
        let decided = world.state.verdicts_due(&c1()).to_vec();
        let number = open(&mut world, ErrandKind::ConcludeRequests(decided.clone())).unwrap();
        recall(&mut world);
        assert_eq!(due(&world), []);
        assert!(!world.state.errands.contains_key(&number), "nor is it said by an errand that nobody has done yet");
        assert_eq!(open(&mut world, ErrandKind::ConcludeRequests(decided)).unwrap_err().word(), "Invalid");
        see(&mut world, vec![request("u1", &claim)]);
        assert_eq!(due(&world), [("u1".to_owned(), false)], "the next look decides anew");
    }
}

#[test]
fn an_answer_that_a_cluster_does_not_take_holds_nothing_up() {
    let (mut world, id, token) = mk_joining();
    let claim = honest(&node_name(&world, &id), &token);
    see(&mut world, vec![request("u1", &claim)]);
    let decided = world.state.verdicts_due(&c1()).to_vec();
    let number = open(&mut world, ErrandKind::ConcludeRequests(decided)).unwrap();
    complete(&mut world, number, ErrandOutcome::Failed("no answer".into())).unwrap();
    assert_eq!(due(&world), []);
    world.now_ms = world.state.errands[&number].retry_at_ms;
    see(&mut world, vec![request("u1", &claim)]);
    assert_eq!(due(&world), [("u1".to_owned(), true)]);
}

#[test]
fn what_there_is_no_room_to_remember_is_neither_told_again_nor_looked_for_at_once() {
    let (mut world, _, _) = mk_joining();
    let (purpose, ttl_ms) = (Purpose::JoinCommand(Role::Worker), HOUR_MS);
    world.done(MintBootstrapToken { id: "line".into(), cluster: c1(), purpose, secret: secret(9), ttl_ms });
    let claim = honest("w9", &"line".into());
    let known: BTreeSet<String> = (0..limits::REQUESTS_PASSED_MAX).map(|at| format!("k{at}")).collect();
    let look = |world: &mut World, passed_over: &BTreeSet<String>, more: bool| {
        let number = open(world, observe(&[])).unwrap();
        let requests = vec![request("new", &claim)];
        let seen = RequestsSeen { requests, passed_over: passed_over.clone(), more, ..RequestsSeen::default() };
        complete(world, number, ErrandOutcome::Requests(seen)).unwrap();
    };
    look(&mut world, &known, true);
    let events = world.state.last_event;
    look(&mut world, &known, true);
    assert_eq!((world.state.last_event, custody(&world).more), (events, false));
    look(&mut world, &BTreeSet::new(), true);
    assert!(custody(&world).more && world.state.last_event > events, "there is room, and it is news");
}

#[test]
fn requests_without_end_do_not_drive_all_else_out_of_the_events() {
    let (mut world, _, _) = mk_joining();
    let (purpose, ttl_ms) = (Purpose::JoinCommand(Role::Worker), HOUR_MS);
    world.done(MintBootstrapToken { id: "line".into(), cluster: c1(), purpose, secret: secret(9), ttl_ms });
    let claim = honest("w9", &"line".into());
    let before = world.state.last_event;
    for round in 0..10 {
        let crowd = (0..limits::REQUESTS_SEEN_MAX).map(|at| request(&format!("f{round}-{at}"), &claim));
        see(&mut world, crowd.collect());
    }
    let told = world.state.events.iter().filter(|event| event.reason == "CsrWaiting").count();
    assert_eq!(told, limits::REQUESTS_TOLD_MAX as usize);
    assert_eq!(
        world.state.last_event - before,
        u64::from(limits::REQUESTS_TOLD_MAX) + 1,
        "and once that there are more"
    );
    world.now_ms += 60_000;
    see(&mut world, vec![request("later", &claim)]);
    assert_eq!(world.state.last_event - before, u64::from(limits::REQUESTS_TOLD_MAX) + 2);
}

#[test]
fn nobody_has_a_custodian_say_what_was_not_decided() {
    let (mut world, _, _) = mk_joining();
    let (uid, version) = ("u".to_owned(), "1".to_owned());
    let forged = Verdict { uid, name: "csr-x".into(), version, approve: true, why: String::new() };
    assert_eq!(open(&mut world, ErrandKind::ConcludeRequests(vec![forged])).unwrap_err().word(), "Invalid");
}

#[test]
fn a_look_is_answered_with_requests_and_nothing_else_is() {
    let (mut world, _, _) = mk_joining();
    let number = open(&mut world, observe(&[])).unwrap();
    assert_eq!(complete(&mut world, number, ErrandOutcome::Done(None)).unwrap_err().word(), "Invalid");
    let crowd = (0..=limits::REQUESTS_SEEN_MAX).map(|at| request(&at.to_string(), &honest("x", &"nobody".into())));
    let seen = RequestsSeen { requests: crowd.collect(), ..RequestsSeen::default() };
    assert_eq!(complete(&mut world, number, ErrandOutcome::Requests(seen)).unwrap_err().word(), "Invalid");
    complete(&mut world, number, ErrandOutcome::Requests(RequestsSeen::default())).unwrap();
    let upload = open(&mut world, ErrandKind::UploadCertificates).unwrap();
    let outcome = ErrandOutcome::Requests(RequestsSeen::default());
    assert_eq!(complete(&mut world, upload, outcome).unwrap_err().word(), "Invalid");
}

#[test]
fn a_cluster_that_approves_by_itself_or_is_linked_is_not_looked_at_by_custodians() {
    for mut world in [World::new(), World::linked()] {
        let first = world.control_plane(1, "cp1");
        world.advance_to(&first, Verb::WaitReady);
        assert_eq!(open(&mut world, observe(&[])).unwrap_err().word(), "Invalid");
    }
}

#[test]
fn what_is_for_a_person_or_for_nobody_here_is_told_once_and_passed_over() {
    let (mut world, _, _) = mk_joining();
    let purpose = Purpose::JoinCommand(Role::Worker);
    let ttl_ms = HOUR_MS;
    world.done(MintBootstrapToken { id: "line".into(), cluster: c1(), purpose, secret: secret(9), ttl_ms });
    let (of_line, foreign) = (honest("w9", &"line".into()), honest("w9", &"foreig".into()));
    see(&mut world, vec![request("u1", &of_line), request("u2", &foreign)]);
    assert_eq!(custody(&world).passed_over, BTreeSet::from(["u1".to_owned(), "u2".to_owned()]));
    assert_eq!(due(&world), []);
    assert!(world.state.events.iter().any(|event| event.reason == "CsrWaiting"));
    see(&mut world, Vec::new());
    assert!(custody(&world).passed_over.is_empty(), "those that are gone are forgotten");
}

#[test]
fn a_request_of_a_line_for_one_name_waits_until_that_node_was_looked_at() {
    let (mut world, _, _) = mk_joining();
    let purpose = Purpose::NamedJoinCommand(Role::Worker, name("w9"));
    let ttl_ms = HOUR_MS;
    world.done(MintBootstrapToken { id: "line".into(), cluster: c1(), purpose, secret: secret(9), ttl_ms });
    let token = world.state.bootstrap_tokens.get_mut(&TokenId::from("line")).unwrap();
    (token.state, token.expires_ms) = (BootstrapTokenState::Present, world.now_ms + HOUR_MS);
    let asked = request("u1", &honest("w9", &"line".into()));
    see(&mut world, vec![asked.clone()]);
    assert_eq!((due(&world), &custody(&world).nodes), (vec![], &BTreeSet::from([name("w9")])));
    for (ready, approve) in [(true, false), (false, true)] {
        let mut world = World { state: world.state.clone(), now_ms: world.now_ms };
        let number = open(&mut world, observe(&["w9"])).unwrap();
        let nodes = BTreeMap::from([(name("w9"), ready)]);
        let seen = RequestsSeen { requests: vec![asked.clone()], nodes, ..RequestsSeen::default() };
        complete(&mut world, number, ErrandOutcome::Requests(seen)).unwrap();
        assert_eq!(due(&world), [("u1".to_owned(), approve)], "a Node of that name is Ready: {ready}");
    }
}

#[test]
fn a_custodian_that_is_silent_holds_requests_up_for_less_than_a_minute() {
    let (mut world, _, _) = mk_joining();
    let second = world.control_plane(3, "cp2");
    world.advance_to(&second, Verb::WaitReady);
    let number = open(&mut world, observe(&[])).unwrap();
    let other =
        if world.state.errands[&number].custodian == second { world.node(&"01node".into()).id.clone() } else { second };
    let again = OpenErrand { cluster: c1(), kind: observe(&[]), custodian: other };
    assert_eq!(world.apply(again.clone()).unwrap_err().word(), "Exists");
    world.now_ms += limits::REQUESTS_PATIENCE_MS;
    world.done(again);
    const { assert!(limits::REQUESTS_PATIENCE_MS < 60_000) };
}

#[test]
fn who_approves_is_settled_with_the_first_control_plane() {
    let (mut world, _, _) = mk_joining();
    let cluster = world.state.clusters[&c1()].clone();
    let spec = ClusterSpec { detached_approval: None, ..cluster.spec };
    let update = UpdateCluster { id: c1(), revision: cluster.revision, spec };
    assert_eq!(world.apply(update).unwrap_err().word(), "Invalid");
}

/// A strict one in which the custodian has seen `u1`, and then deleted its token.
fn mk_held() -> (World, NodeId, CsrClaim) {
    let (mut world, id, token) = mk_approving(CsrApproval::Strict);
    let outcome = StepOutcome::Running { phase: "kubelet-start".into(), observation: None };
    let attempt = world.node(&id).attempt;
    world.done(Report { node: id.clone(), attempt, step: "join".into(), outcome, elapsed_ms: 1 });
    let claim = honest(&node_name(&world, &id), &token);
    see(&mut world, vec![request("u1", &claim)]);
    assert_eq!((due(&world), custody(&world).passed_over.len()), (Vec::new(), 0));
    world.now_ms += limits::HOLD_SETTLES_MS;
    see(&mut world, vec![request("u1", &claim)]);
    let number = open(&mut world, ErrandKind::DeleteTokens(vec![token.clone()])).unwrap();
    complete(&mut world, number, ErrandOutcome::Done(None)).unwrap();
    assert_eq!(world.state.bootstrap_tokens[&token].deleted_ms, world.now_ms);
    (world, id, claim)
}

#[test]
fn a_strict_detached_cluster_approves_by_a_look_that_was_asked_for_when_nobody_could_ask_any_more() {
    let (mut world, _, claim) = mk_held();
    world.now_ms += limits::TOKEN_FORGOTTEN_MS - 1;
    let early = open(&mut world, observe(&[])).unwrap();
    world.now_ms += 1_000;
    let seen = RequestsSeen { requests: vec![request("u1", &claim)], ..RequestsSeen::default() };
    complete(&mut world, early, ErrandOutcome::Requests(seen)).unwrap();
    assert_eq!(due(&world), [], "somebody may have asked between the look and its report");
    see(&mut world, vec![request("u1", &claim)]);
    assert_eq!(due(&world), [("u1".to_owned(), true)]);
}

#[test]
fn a_second_request_in_the_last_look_of_a_strict_detached_cluster_denies_both() {
    let (mut world, id, claim) = mk_held();
    world.now_ms += limits::TOKEN_FORGOTTEN_MS;
    see(&mut world, vec![request("u1", &claim), request("u2", &claim)]);
    assert!(due(&world).iter().all(|(_, approve)| !approve) && due(&world).len() == 2);
    assert!(world.node(&id).locked.is_some() && world.node(&id).requests.iter().all(|seen| !seen.approved));
    assert!(world.state.events.iter().all(|event| event.reason != "CsrApproved"));
}

#[test]
fn the_request_of_a_line_that_has_ended_is_denied_without_another_look_at_its_node() {
    let (mut world, _, _) = mk_joining();
    let purpose = Purpose::NamedJoinCommand(Role::Worker, name("w9"));
    world.done(MintBootstrapToken { id: "line".into(), cluster: c1(), purpose, secret: secret(9), ttl_ms: HOUR_MS });
    world.state.bootstrap_tokens.get_mut(&TokenId::from("line")).unwrap().state = BootstrapTokenState::Deleted;
    see(&mut world, vec![request("late", &honest("w9", &"line".into()))]);
    assert_eq!((due(&world), custody(&world).more), (vec![("late".to_owned(), false)], false));
}
