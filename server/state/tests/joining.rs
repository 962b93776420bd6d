//! Permits, evidence, reports, errands and bootstrap tokens.

use muster_state::{
    ClusterId, NodeId, Phase, Refusal,
    command::{
        CompleteErrand, ErrandOutcome, FreePermit, GrantPermit, Instruct, JudgePreflight, LockNode, MintBootstrapToken,
        OpenErrand, RemoveNode, ReplaceCertificateKey, Report, RetryNode, RevokeToken, StepOutcome,
    },
    failure::Rule,
    limits,
    record::{BootstrapTokenState, ErrandKind, ErrandState, EtcdMember, Permit, PermitKind, Purpose, StepState, Verb},
};

use crate::world::{
    HOUR_MS, World,
    friendly::{failure, member},
    hello, secret,
};

fn c1() -> ClusterId {
    "c1".into()
}

fn permit(world: &World, kind: PermitKind) -> Permit {
    world.state.clusters[&c1()].permit(kind)
}

fn grant(kind: PermitKind, node: &NodeId) -> GrantPermit {
    GrantPermit { cluster: c1(), kind, node: node.clone() }
}

/// A cluster with its first control plane, and two more at their etcd step, the first of them with the permit.
fn two_at_etcd() -> (World, NodeId, NodeId) {
    let mut world = World::new();
    world.control_plane(1, "cp1");
    world.settle();
    let (holder, waiting) = (world.control_plane(2, "cp2"), world.control_plane(3, "cp3"));
    world.advance_to(&holder, Verb::JoinEtcd);
    while world.node(&waiting).phase != Phase::WaitingForEtcdPermit {
        for verb in crate::world::friendly::next(&world.state) {
            if !matches!(&verb, muster_state::Verb::Report(report) if report.node == holder) {
                let _ = world.command(muster_state::Command { request: None, verb });
            }
        }
    }
    (world, holder, waiting)
}

fn list(world: &mut World, about: &NodeId, members: Vec<EtcdMember>) {
    let kind = ErrandKind::ListEtcdMembers(about.clone());
    let number = world.done(OpenErrand { cluster: c1(), kind, custodian: "01node".into() });
    let outcome = ErrandOutcome::Done(Some(members));
    world.done(CompleteErrand { number, node: "01node".into(), outcome });
}

#[test]
fn a_permit_is_granted_once() {
    let (mut world, holder, waiting) = two_at_etcd();
    let refused = world.apply(grant(PermitKind::EtcdJoin, &waiting)).unwrap_err();
    assert_eq!(refused, Refusal::PermitHeld { kind: "etcd-join".into(), holder: holder.to_string() });
    assert_eq!(world.apply(grant(PermitKind::EtcdJoin, &holder)).unwrap_err().word(), "PermitHeld");
    assert_eq!(world.apply(grant(PermitKind::Init, &waiting)).unwrap_err().word(), "PermitHeld", "init never moves");
    assert!(world.node(&waiting).message.contains("cp2"), "{}", world.node(&waiting).message);
}

#[test]
fn a_voter_passes_the_permit_on_at_once() {
    let (mut world, holder, waiting) = two_at_etcd();
    let members = Some(vec![member("cp1", false), member("cp2", false)]);
    world.report(&holder, StepOutcome::Succeeded { members, observation: None });
    assert_eq!(permit(&world, PermitKind::EtcdJoin).holder, None);
    world.done(grant(PermitKind::EtcdJoin, &waiting));
    assert_eq!(world.node(&waiting).phase, Phase::JoiningEtcd);
}

#[test]
fn success_without_evidence_and_failure_keep_the_permit_until_etcd_shows_no_learner() {
    for outcome in [
        StepOutcome::Succeeded { members: None, observation: None },
        StepOutcome::Succeeded { members: Some(vec![member("cp2", true)]), observation: None },
        failure("LearnerNotInSync", true),
        failure("Timeout", false),
    ] {
        let (mut world, holder, waiting) = two_at_etcd();
        world.report(&holder, outcome);
        assert!(permit(&world, PermitKind::EtcdJoin).evidence_wanted);
        assert_eq!(world.apply(grant(PermitKind::EtcdJoin, &waiting)).unwrap_err().word(), "PermitHeld");
        list(&mut world, &holder, vec![member("cp1", false), member("", true)]);
        list(&mut world, &holder, Vec::new());
        assert_eq!(
            permit(&world, PermitKind::EtcdJoin).holder.as_ref(),
            Some(&holder),
            "a learner is left, or no list"
        );
        list(&mut world, &holder, vec![member("cp1", false)]);
        world.done(grant(PermitKind::EtcdJoin, &waiting));
    }
}

#[test]
fn the_permit_of_a_removed_holder_waits_for_evidence_about_it() {
    let (mut world, holder, waiting) = two_at_etcd();
    world.done(RemoveNode { node: holder.clone(), reason: String::new() });
    assert!(world.node(&waiting).message.contains(holder.as_str()));
    assert_eq!(world.apply(grant(PermitKind::EtcdJoin, &waiting)).unwrap_err().word(), "PermitHeld");
    list(&mut world, &holder, vec![member("cp1", false)]);
    world.done(grant(PermitKind::EtcdJoin, &waiting));
    world.settle();
    assert_eq!(world.node(&waiting).phase, Phase::Ready);
}

#[test]
fn a_list_that_was_asked_for_before_the_end_is_no_evidence() {
    let (mut world, holder, _) = two_at_etcd();
    let kind = ErrandKind::ListEtcdMembers(holder.clone());
    let early = world.done(OpenErrand { cluster: c1(), kind, custodian: "01node".into() });
    world.report(&holder, failure("Timeout", false));
    let outcome = ErrandOutcome::Done(Some(vec![member("cp1", false)]));
    world.done(CompleteErrand { number: early, node: "01node".into(), outcome });
    assert_eq!(permit(&world, PermitKind::EtcdJoin).holder, Some(holder));
}

#[test]
fn silence_never_passes_a_permit_on_but_an_operator_may() {
    let (mut world, holder, waiting) = two_at_etcd();
    world.now_ms += 1_000 * HOUR_MS;
    assert_eq!(world.apply(grant(PermitKind::EtcdJoin, &waiting)).unwrap_err().word(), "PermitHeld");
    let free = FreePermit { cluster: c1(), kind: PermitKind::EtcdJoin, holder: waiting.clone(), reason: String::new() };
    assert_eq!(world.apply(free.clone()).unwrap_err().word(), "SeenDiffers");
    world.done(FreePermit { holder, ..free.clone() });
    world.done(grant(PermitKind::EtcdJoin, &waiting));
    let init = FreePermit { kind: PermitKind::Init, holder: "01node".into(), ..free };
    assert_eq!(world.apply(init).unwrap_err().word(), "NoEvidence", "init has succeeded and never moves");
}

#[test]
fn what_ran_under_a_permit_may_still_be_reported_without_it() {
    let (mut world, holder, waiting) = two_at_etcd();
    world.report(&holder, StepOutcome::Running { phase: "etcd-join".into(), observation: None });
    let reason = "it looked dead".into();
    world.done(FreePermit { cluster: c1(), kind: PermitKind::EtcdJoin, holder: holder.clone(), reason });
    world.done(grant(PermitKind::EtcdJoin, &waiting));
    world.report(&holder, failure("Timeout", true));
    assert_eq!(permit(&world, PermitKind::EtcdJoin).holder, Some(waiting), "another's permit is not touched");
}

#[test]
fn init_moves_on_after_a_reported_reset_only() {
    let mut world = World::new();
    let (one, two) = (world.control_plane(1, "cp1"), world.control_plane(2, "cp2"));
    world.advance_to(&one, Verb::Init);
    world.done(hello(&two, crate::world::facts(2)));
    world.done(JudgePreflight { node: two.clone(), revision: 1, problem: String::new() });
    assert_eq!(world.apply(grant(PermitKind::Init, &two)).unwrap_err().word(), "PermitHeld");
    world.report(&one, failure("Timeout", false));
    assert_eq!(world.node(&one).failure.as_ref().unwrap().rule, Rule::StopAndAsk);
    assert_eq!(world.apply(grant(PermitKind::Init, &two)).unwrap_err().word(), "PermitHeld");
    // The same machine may try again by an operator's word.
    world.advance_to(&one, Verb::Init);
    assert_eq!(world.node(&one).attempt, 2);
    world.report(&one, failure("Timeout", true));
    world.done(grant(PermitKind::Init, &two));
}

#[test]
fn a_step_that_is_not_open_is_not_reported_on() {
    let (mut world, holder, waiting) = two_at_etcd();
    let early = Report {
        node: waiting.clone(),
        attempt: world.node(&waiting).attempt,
        step: "etcd-join".into(),
        outcome: StepOutcome::Succeeded { members: None, observation: None },
        elapsed_ms: 0,
    };
    assert_eq!(world.apply(early.clone()).unwrap_err().word(), "WrongPhase", "it holds no permit");
    let skips =
        Report { node: holder.clone(), attempt: world.node(&holder).attempt, step: "finish".into(), ..early.clone() };
    assert_eq!(world.apply(skips.clone()).unwrap_err().word(), "WrongPhase", "etcd comes first");
    let before = world.state.clone();
    world.done(Report { attempt: 0, ..skips });
    assert_eq!(world.state, before, "a report of an earlier attempt says nothing");
    world.done(LockNode { node: waiting, reason: String::new() });
    assert_eq!(world.apply(early).unwrap_err().word(), "Locked");
}

#[test]
fn a_failed_join_is_retried_after_its_pause_and_not_for_ever() {
    let mut world = World::new();
    world.control_plane(1, "cp1");
    world.settle();
    let node = world.worker(2);
    for count in 1..=limits::ATTEMPTS_MAX {
        world.advance_to(&node, Verb::JoinWorker);
        world.report(&node, failure("ApiServerUnreachable", true));
        let noted = world.node(&node).failure.clone().unwrap();
        assert_eq!((noted.count, world.node(&node).phase), (count, Phase::Failed));
        let retry = RetryNode { node: node.clone(), automatic: true };
        assert_eq!(world.apply(retry.clone()).unwrap_err().word(), "WrongPhase", "not before its time");
        if count == limits::ATTEMPTS_MAX {
            assert_eq!((noted.rule, noted.retry_at_ms), (Rule::StopAndAsk, 0));
            return;
        }
        assert_eq!(noted.rule, Rule::ResetThenRetry);
        world.now_ms = noted.retry_at_ms;
        world.done(retry);
    }
}

#[test]
fn a_failure_after_the_join_undoes_nothing() {
    for (step, verb) in [("custodian", Verb::Custodian), ("ready", Verb::WaitReady)] {
        let mut world = World::new();
        let node = world.control_plane(1, "cp1");
        world.advance_to(&node, verb);
        world.report(&node, failure("Unknown", true));
        let noted = world.node(&node).failure.clone().unwrap();
        assert_eq!((noted.rule, noted.step.as_str()), (Rule::RetryAsIs, step));
        assert_eq!(world.node(&node).phase, Phase::Failed);
        assert_eq!(world.node(&node).steps[0].state, StepState::Done);
        assert_eq!(world.state.custodian(&c1()).is_some(), verb == Verb::WaitReady);
        assert!(permit(&world, PermitKind::Init).holder.is_some(), "init never moves once it has succeeded");
        world.now_ms = noted.retry_at_ms;
        world.done(RetryNode { node: node.clone(), automatic: true });
        assert_eq!((world.node(&node).attempt, world.node(&node).current_step().unwrap().verb), (2, verb));
        world.settle();
        assert_eq!(world.node(&node).phase, Phase::Ready);
    }
}

#[test]
fn a_node_gets_one_token_of_its_own_cluster_and_it_is_deleted_after_the_join() {
    let mut world = World::new();
    world.done(crate::world::create("c2"));
    world.control_plane(1, "cp1");
    world.settle();
    let node = world.worker(2);
    let purpose = Purpose::Node(node.clone());
    let mint = MintBootstrapToken { id: "b1".into(), cluster: c1(), purpose, secret: secret(1), ttl_ms: HOUR_MS };
    let elsewhere = MintBootstrapToken { cluster: "c2".into(), ..mint.clone() };
    assert_eq!(world.apply(elsewhere).unwrap_err().word(), "WrongPhase");
    world.done(mint.clone());
    assert_eq!(world.apply(mint.clone()).unwrap_err().word(), "Exists");
    let second = MintBootstrapToken { id: "b2".into(), ..mint };
    assert_eq!(world.apply(second).unwrap_err().word(), "WrongPhase");
    let early = Instruct { node: node.clone(), steps: vec![Verb::JoinWorker], token: Some("b1".into()) };
    assert_eq!(world.apply(early).unwrap_err().word(), "WrongPhase");
    world.settle();
    assert!(world.node(&node).has_joined());
    assert_eq!(world.state.bootstrap_tokens[&"b1".into()].state, BootstrapTokenState::Deleted);
}

#[test]
fn steps_that_do_not_fit_are_not_instructed() {
    let mut world = World::new();
    world.control_plane(1, "cp1");
    world.settle();
    let node = world.worker(2);
    world.advance_to(&node, Verb::JoinWorker);
    world.report(&node, failure("Timeout", true));
    world.done(RetryNode { node: node.clone(), automatic: false });
    for steps in [
        vec![],
        vec![Verb::WaitReady],
        vec![Verb::Reset],
        vec![Verb::Init, Verb::WaitReady],
        vec![Verb::JoinWhole],
        vec![Verb::JoinWorker, Verb::JoinWorker],
    ] {
        let refused = world.apply(Instruct { node: node.clone(), steps, token: None }).unwrap_err();
        assert_eq!(refused.word(), "WrongPhase");
    }
}

#[test]
fn a_token_that_ends_while_it_is_applied_is_deleted_after() {
    let mut world = World::new();
    world.control_plane(1, "cp1");
    world.settle();
    let purpose = Purpose::JoinCommand(muster_state::record::Role::Worker);
    world.done(MintBootstrapToken { id: "b".into(), cluster: c1(), purpose, secret: secret(1), ttl_ms: HOUR_MS });
    let errand = |kind| OpenErrand { cluster: c1(), kind, custodian: "01node".into() };
    let unknown = world.apply(errand(ErrandKind::ApplyTokens(vec!["x".into()]))).unwrap_err();
    assert_eq!(unknown.word(), "Invalid");
    let number = world.done(errand(ErrandKind::ApplyTokens(vec!["b".into()])));
    world.done(RevokeToken { id: "b".into() });
    let overtakes = world.apply(errand(ErrandKind::DeleteTokens(vec!["b".into()]))).unwrap_err();
    assert_eq!(overtakes.word(), "Exists");
    world.done(CompleteErrand { number, node: "01node".into(), outcome: ErrandOutcome::Done(None) });
    assert_eq!(world.state.bootstrap_tokens[&"b".into()].state, BootstrapTokenState::Ending);
    world.settle();
    assert_eq!(world.state.bootstrap_tokens[&"b".into()].state, BootstrapTokenState::Deleted);
}

/// Three control planes that have joined.
fn three() -> World {
    let mut world = World::new();
    for (machine, name) in [(1, "cp1"), (2, "cp2"), (3, "cp3")] {
        world.control_plane(machine, name);
    }
    world.settle();
    world
}

#[test]
fn an_errand_that_fails_pauses_and_goes_to_another() {
    let mut world = three();
    let upload = |custodian: &str| OpenErrand {
        cluster: c1(),
        kind: ErrandKind::UploadCertificates,
        custodian: custodian.into(),
    };
    let number = world.done(upload("01node"));
    assert_eq!(world.apply(upload("02node")).unwrap_err().word(), "Exists");
    let outcome = ErrandOutcome::Failed("connection refused".into());
    world.done(CompleteErrand { number, node: "01node".into(), outcome });
    assert_eq!(world.state.errands[&number].state, ErrandState::Failed);
    assert_eq!(world.apply(upload("02node")).unwrap_err().word(), "Exists", "not before its pause is over");
    assert_eq!(world.state.custodian(&c1()).unwrap().id, "02node".into());
    world.now_ms = world.state.errands[&number].retry_at_ms;
    let next = world.done(upload("02node"));
    assert_eq!(world.state.errands[&next].failures, 1);
}

#[test]
fn an_errand_of_a_silent_or_locked_custodian_is_taken_over() {
    let mut world = three();
    let upload = |custodian: &str| OpenErrand {
        cluster: c1(),
        kind: ErrandKind::UploadCertificates,
        custodian: custodian.into(),
    };
    let uploaded_ms = world.state.clusters[&c1()].certificates_uploaded_ms;
    let silent = world.done(upload("01node"));
    world.now_ms += limits::ERRAND_PATIENCE_MS;
    assert_eq!(world.apply(upload("01node")).unwrap_err().word(), "Exists");
    let taken = world.done(upload("02node"));
    world.done(CompleteErrand { number: silent, node: "01node".into(), outcome: ErrandOutcome::Done(None) });
    assert_eq!(world.state.clusters[&c1()].certificates_uploaded_ms, uploaded_ms, "a late report says nothing");
    world.done(LockNode { node: "02node".into(), reason: String::new() });
    assert!(!world.state.errands.contains_key(&taken));
    assert_eq!(world.apply(upload("02node")).unwrap_err().word(), "WrongPhase");
    world.done(upload("03node"));
}

#[test]
fn an_upload_under_the_old_certificate_key_does_not_count_for_the_new_one() {
    let mut world = three();
    let kind = ErrandKind::UploadCertificates;
    let number = world.done(OpenErrand { cluster: c1(), kind, custodian: "01node".into() });
    world.done(ReplaceCertificateKey { cluster: c1(), certificate_key: secret(9) });
    world.done(CompleteErrand { number, node: "01node".into(), outcome: ErrandOutcome::Done(None) });
    assert_eq!(world.state.clusters[&c1()].certificates_uploaded_ms, 0);
}

#[test]
fn one_worker_that_gets_further_wakes_no_other() {
    let mut world = three();
    let (one, two) = (world.worker(4), world.worker(5));
    world.advance_to(&one, Verb::JoinWorker);
    world.advance_to(&two, Verb::JoinWorker);
    let revision = world.node(&two).revision;
    world.report(&one, StepOutcome::Running { phase: "kubelet-start".into(), observation: None });
    world.report(&one, StepOutcome::Succeeded { members: None, observation: None });
    assert_eq!(world.node(&two).revision, revision);
}

#[test]
fn a_verdict_is_on_the_report_that_was_seen_and_said_once() {
    let mut world = World::new();
    let node = world.control_plane(1, "cp1");
    let verdict = JudgePreflight { node: node.clone(), revision: 1, problem: "kubelet v1.40 is too new".into() };
    assert_eq!(world.apply(verdict.clone()).unwrap_err().word(), "SeenDiffers", "there is no report yet");
    world.done(hello(&node, crate::world::facts(1)));
    world.done(verdict.clone());
    assert!(world.node(&node).message.contains("too new"));
    assert_eq!(world.apply(grant(PermitKind::Init, &node)).unwrap_err().word(), "WrongPhase");
    let again = world.command(muster_state::Command { request: None, verb: verdict.into() });
    assert_eq!(again.changes, vec![]);
    world.done(JudgePreflight { node: node.clone(), revision: 1, problem: String::new() });
    assert!(world.node(&node).preflight_passed);
}
