use muster_state::{
    command::{DenyNode, LockNode},
    failure::Rule,
    record::{PhaseEntry, Suggestion, Verb},
};

use super::*;
use crate::api::fixture::{CLUSTER, NOW_MS, control_plane, key_of, mk_state, pending, worker};

const ID: &str = "6e0f3a51-0000-4000-8000-000000000001";

fn view(state: &State, id: &str) -> Wire {
    render(state, &state.nodes[&id.into()])
}

#[test]
fn a_machine_that_waits_for_an_operator_shows_what_to_compare_and_the_command() {
    let mut state = mk_state();
    pending(&mut state, ID);
    let shown = view(&state, ID);
    assert_eq!((shown.phase.as_str(), shown.name.as_str(), shown.cluster.as_str()), ("PendingApproval", "", ""));
    assert_eq!(shown.key_fingerprint, key_of(ID).to_string());
    let approve = format!("muster node approve {ID} --fingerprint {}", key_of(ID));
    assert_eq!(shown.next, format!("{approve} --pool POOL"), "the only cluster has two pools");
}

#[test]
fn a_suggestion_is_spelled_out_but_its_name_is_not_the_nodes_yet() {
    let mut state = mk_state();
    pending(&mut state, ID);
    let node = state.nodes.get_mut(&ID.into()).unwrap();
    let name = Some(muster_state::NodeName::parse("cp-1").unwrap());
    let suggested = Some(Suggestion { cluster: CLUSTER.into(), pool: "cp".into(), name });
    node.standing = Standing::Pending { suggested, from: String::new(), conflict: Some("the same UUID".into()) };
    let shown = view(&state, ID);
    assert_eq!(
        (shown.name.as_str(), shown.cluster.as_str(), shown.pool.as_str(), shown.role.as_str()),
        ("", "prod", "cp", "control-plane")
    );
    assert!(shown.next.ends_with(" --cluster prod --pool cp --name cp-1 --replace"), "{}", shown.next);
    assert_eq!(cluster_of(&state.nodes[&ID.into()]), Some(&CLUSTER.into()));
}

#[test]
fn nothing_a_machine_claims_is_in_the_command_to_paste() {
    let mut state = mk_state();
    pending(&mut state, ID);
    let facts = &mut state.nodes.get_mut(&ID.into()).unwrap().facts;
    facts.hostname = "$(reboot)".into();
    facts.wanted_node_name = "$(reboot)".into();
    facts.wanted_role = "$(reboot)".into();
    assert!(!view(&state, ID).next.contains("reboot"));
}

#[test]
fn each_way_to_be_stuck_has_its_command_and_the_others_none() {
    let mut state = mk_state();
    worker(&mut state, ID);
    assert_eq!(view(&state, ID).next, "");
    let failure = |retry_at_ms| LastFailure {
        step: "join".into(),
        cause: "PinMismatch".into(),
        message: "no".into(),
        rule: Rule::StopAndAsk,
        count: 2,
        at_ms: NOW_MS,
        retry_at_ms,
    };
    let mut failed = |retry_at_ms| {
        let node = state.nodes.get_mut(&ID.into()).unwrap();
        node.failure = Some(failure(retry_at_ms));
        node.phase = Phase::Failed;
        view(&state, ID)
    };
    assert_eq!(failed(NOW_MS + 1).next, "", "it is retried by itself");
    let shown = failed(0);
    assert_eq!(shown.next, format!("muster node retry {ID}"));
    let last = shown.failure.unwrap();
    assert_eq!((last.rule.as_str(), last.failures, last.retry_at), ("StopAndAsk", 2, None));
    state.apply_verb(NOW_MS, LockNode { node: ID.into(), reason: String::new() }).unwrap();
    let shown = view(&state, ID);
    assert_eq!((shown.locked, shown.next), (true, format!("muster node unlock {ID}")));
}

#[test]
fn a_denied_machine_belongs_nowhere() {
    let mut state = mk_state();
    pending(&mut state, ID);
    state.apply_verb(NOW_MS, DenyNode { node: ID.into(), reason: "not ours".into() }).unwrap();
    let shown = view(&state, ID);
    assert_eq!((shown.phase.as_str(), shown.message.as_str(), shown.pool.as_str()), ("Denied", "not ours", ""));
    assert_eq!((shown.next.as_str(), cluster_of(&state.nodes[&ID.into()])), ("", None));
}

#[test]
fn a_step_is_open_only_when_it_is_next_and_may_run() {
    let mut state = mk_state();
    control_plane(&mut state, ID, "cp-1");
    let node = state.nodes.get_mut(&ID.into()).unwrap();
    node.attempt = 1;
    node.steps = [Verb::JoinPrepare, Verb::JoinEtcd, Verb::JoinFinish].map(Step::waiting).into();
    let words = |state: &State| view(state, ID).steps.into_iter().map(|step| step.state).collect::<Vec<_>>();
    assert_eq!(words(&state), ["Open", "Waiting", "Waiting"]);
    state.nodes.get_mut(&ID.into()).unwrap().steps[0].state = StepState::Done;
    assert_eq!(words(&state), ["Done", "Waiting", "Waiting"], "the permit is not its own");
    let cluster = state.clusters.get_mut(&CLUSTER.into()).unwrap();
    let permit = muster_state::record::Permit { holder: Some(ID.into()), attempt: 1, ..Default::default() };
    cluster.permits.insert(muster_state::record::PermitKind::EtcdJoin, permit);
    assert_eq!(words(&state), ["Done", "Open", "Waiting"]);
    state.nodes.get_mut(&ID.into()).unwrap().locked = Some("why".into());
    assert_eq!(words(&state), ["Done", "Waiting", "Waiting"]);
}

#[test]
fn the_timeline_says_when_each_phase_was_left() {
    let mut state = mk_state();
    worker(&mut state, ID);
    let entry = |phase, at_ms| PhaseEntry { phase, at_ms };
    state.nodes.get_mut(&ID.into()).unwrap().timeline =
        vec![entry(Phase::Approved, 5), entry(Phase::Preflight, 7), entry(Phase::Joining, 11)];
    let times: Vec<_> =
        view(&state, ID).timeline.iter().map(|entry| (entry.entered_unix_ms, entry.left_unix_ms)).collect();
    assert_eq!(times, [(5, 7), (7, 11), (11, 0)]);
    assert_eq!(view(&state, ID).phase_since, timestamp(11));
}

#[test]
fn ready_says_who_says_so_and_whether_it_was_rehearsed() {
    let mut state = mk_state();
    worker(&mut state, ID);
    assert_eq!(view(&state, ID).ready_source, "");
    let node = state.nodes.get_mut(&ID.into()).unwrap();
    (node.phase, node.rehearsed) = (Phase::Ready, true);
    let shown = view(&state, ID);
    assert_eq!(
        (shown.ready_source.as_str(), shown.rehearsed, shown.assurance.as_str()),
        ("agent-reported", true, "Token")
    );
}

#[test]
fn phases_are_read_in_any_case_and_an_unknown_one_is_told_the_words() {
    assert_eq!(parse_phase("phase", "waitingforinit").unwrap(), Phase::WaitingForInit);
    let said = parse_phase("phase", "Joined").unwrap_err().to_string();
    assert!(said.starts_with("phase: \"Joined\" is no phase") && said.contains("JoiningEtcd, Joining"), "{said}");
}

#[test]
fn a_record_from_a_backup_has_no_fingerprint_to_approve() {
    let mut state = mk_state();
    worker(&mut state, ID);
    state.nodes.get_mut(&ID.into()).unwrap().identity.generation = 0;
    state.nodes.get_mut(&ID.into()).unwrap().phase = Phase::PendingApproval;
    let shown = view(&state, ID);
    assert_eq!((shown.key_fingerprint.as_str(), shown.next.as_str()), ("", ""));
}
