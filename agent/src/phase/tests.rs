use std::time::Duration;

use super::*;
use crate::instruction::RequestsTask;
use crate::kubeadm::Cause;
use crate::report::{EtcdMember, EtcdMembers, NodeObservation};

mod life;

fn mk_step(id: &str, verb: Verb) -> Step {
    Step {
        id: id.to_owned(),
        verb,
        open: true,
        done: false,
        payload: None,
        limit: Some(Duration::from_secs(60)),
        errand: false,
        requests: RequestsTask::default(),
    }
}

fn mk_errand(id: &str, verb: Verb) -> Step {
    Step { errand: true, ..mk_step(id, verb) }
}

fn mk_instruction(attempt: u32, steps: Vec<Step>) -> Instruction {
    Instruction {
        revision: 1,
        attempt,
        node_name: "n1".to_owned(),
        cluster: "prod".to_owned(),
        phase: "Joining".to_owned(),
        message: String::new(),
        hold: false,
        steps,
        complete: false,
        kubernetes_version: "v1.36.2".to_owned(),
    }
}

fn key(attempt: u32, step: &str) -> Key {
    Key { attempt, step: step.to_owned() }
}

/// Drives a phase and remembers what it asked for last.
struct Driver {
    phase: Phase,
    actions: Vec<Action>,
}

impl Driver {
    fn new(journal: Journal) -> Self {
        Self { phase: Phase::new(journal), actions: Vec::new() }
    }

    /// Attached, and told to do this.
    fn instructed(journal: Journal, instruction: Instruction) -> Self {
        let mut driver = Self::new(journal);
        driver.on(Input::Attached);
        driver.on(Input::Instruction(instruction));
        driver
    }

    fn on(&mut self, input: Input) -> &[Action] {
        let (phase, actions) = std::mem::take(&mut self.phase).on(input);
        (self.phase, self.actions) = (phase, actions);
        &self.actions
    }

    fn opened(&mut self) -> &[Action] {
        self.on(Input::Opened { config_path: Some("/k.yaml".to_owned()), transient: vec!["/k.yaml".to_owned()] })
    }

    fn succeed(&mut self, key: &Key) -> &[Action] {
        self.on(Input::Ended(key.clone(), Ended::Succeeded(Seen::default()), 5))
    }

    fn fail(&mut self, key: &Key, clean: bool) -> &[Action] {
        let failure = Failure { clean, ..Failure::untouched(Cause::TokenExpired, "x") };
        self.on(Input::Ended(key.clone(), Ended::Failed(failure), 5))
    }

    fn ran(&self) -> Vec<(String, Mode)> {
        let run = |action: &Action| match action {
            Action::Run { key, mode, .. } => Some((key.step.clone(), *mode)),
            _ => None,
        };
        self.actions.iter().filter_map(run).collect()
    }

    fn outcomes(&self) -> Vec<Outcome> {
        let sent = |action: &Action| match action {
            Action::Send(report) => Some(report.outcome.clone()),
            _ => None,
        };
        self.actions.iter().filter_map(sent).collect()
    }
}

/// A journal as an agent leaves it that dies in the middle of `verb`.
fn interrupted(attempt: u32, step: &str, verb: Verb) -> Journal {
    let mut driver = Driver::instructed(Journal::default(), mk_instruction(attempt, vec![mk_step(step, verb)]));
    driver.opened();
    driver.phase.journal().clone()
}

#[test]
fn a_step_is_opened_written_down_and_only_then_run() {
    let mut driver = Driver::instructed(Journal::default(), mk_instruction(1, vec![mk_step("join", Verb::JoinWorker)]));
    assert_eq!(driver.actions.last(), Some(&Action::Open(key(1, "join"))));
    driver.opened();
    let [Action::Save, Action::Send(started), Action::Run { mode: Mode::Fresh, .. }] = &driver.actions[..] else {
        panic!("{:?}", driver.actions)
    };
    assert_eq!(started.outcome, Outcome::Started);
    let journal = driver.phase.journal();
    assert_eq!(journal.changed_by, Some(1));
    assert_eq!((journal.config_path.as_deref(), journal.litter.len()), (Some("/k.yaml"), 1));
    assert!(matches!(journal.entries[&key(1, "join")].state, State::Started { .. }));
}

#[test]
fn steps_wait_for_those_before_them_to_be_recorded() {
    let steps = vec![mk_step("prepare", Verb::JoinPrepare), mk_step("etcd-join", Verb::JoinEtcd)];
    let mut instruction = mk_instruction(1, steps);
    let mut driver = Driver::instructed(Journal::default(), instruction.clone());
    driver.opened();
    driver.succeed(&key(1, "prepare"));
    assert!(driver.ran().is_empty() && driver.phase.is_idle(), "{:?}", driver.actions);
    instruction.steps[0].done = true;
    driver.on(Input::Instruction(instruction));
    assert_eq!(driver.actions.last(), Some(&Action::Open(key(1, "etcd-join"))));
}

#[test]
fn a_gated_or_held_step_is_not_run() {
    let gated = Step { open: false, ..mk_step("etcd-join", Verb::JoinEtcd) };
    assert!(!has_open(&Driver::instructed(Journal::default(), mk_instruction(1, vec![gated])).actions));
    let held = Instruction { hold: true, ..mk_instruction(1, vec![mk_step("join", Verb::JoinWorker)]) };
    let mut driver = Driver::instructed(Journal::default(), held.clone());
    assert!(!has_open(&driver.actions));
    driver.on(Input::Instruction(Instruction { hold: false, ..held }));
    assert!(has_open(&driver.actions));
}

fn has_open(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::Open(_) | Action::Run { .. } | Action::Probe { .. }))
}

#[test]
fn an_end_is_reported_until_it_is_acknowledged_and_then_never_again() {
    let instruction = mk_instruction(1, vec![mk_step("join", Verb::JoinWorker)]);
    let mut driver = Driver::instructed(Journal::default(), instruction.clone());
    driver.opened();
    driver.on(Input::Detached);
    driver.succeed(&key(1, "join"));
    assert!(driver.outcomes().is_empty());
    for _ in 0..2 {
        driver.on(Input::Attached);
        assert!(matches!(driver.outcomes()[..], [Outcome::Succeeded(_)]));
        driver.on(Input::Detached);
    }
    driver.on(Input::Attached);
    assert_eq!(driver.on(Input::Acknowledged(1)), [Action::Save]);
    assert_eq!(driver.on(Input::Acknowledged(1)), []);
    driver.on(Input::Detached);
    assert_eq!(driver.on(Input::Attached), []);
    assert!(driver.phase.is_told());
}

#[test]
fn what_the_server_forgot_is_reported_again_once_per_stream_and_not_run_again() {
    let instruction = mk_instruction(1, vec![mk_step("join", Verb::JoinWorker)]);
    let mut driver = Driver::instructed(Journal::default(), instruction.clone());
    driver.opened();
    driver.succeed(&key(1, "join"));
    driver.on(Input::Acknowledged(2));
    driver.on(Input::Instruction(instruction.clone()));
    assert!(matches!(driver.actions[..], [Action::Send(_)]), "{:?}", driver.actions);
    assert_eq!(driver.on(Input::Instruction(instruction)), []);
}

#[test]
fn a_failed_step_runs_again_only_in_a_new_attempt() {
    let instruction = mk_instruction(1, vec![mk_step("join", Verb::JoinWorker)]);
    let mut driver = Driver::instructed(Journal::default(), instruction.clone());
    driver.opened();
    driver.fail(&key(1, "join"), true);
    assert!(driver.actions.contains(&Action::Sweep(vec!["/k.yaml".to_owned()])));
    assert!(matches!(driver.outcomes()[..], [Outcome::Failed(_)]));
    driver.on(Input::Instruction(instruction));
    assert!(!has_open(&driver.actions));
    driver.on(Input::Instruction(mk_instruction(2, vec![mk_step("join", Verb::JoinWorker)])));
    driver.opened();
    assert_eq!(driver.ran(), [("join".to_owned(), Mode::Fresh)]);
}

#[test]
fn a_new_attempt_on_a_machine_left_half_done_begins_with_a_reset() {
    let journal = interrupted(1, "prepare", Verb::JoinPrepare);
    let mut driver = Driver::instructed(journal, mk_instruction(2, vec![mk_step("prepare", Verb::JoinPrepare)]));
    assert!(driver.actions.contains(&Action::Sweep(vec!["/k.yaml".to_owned()])), "{:?}", driver.actions);
    driver.opened();
    assert_eq!(driver.ran(), [("prepare".to_owned(), Mode::ResetFirst)]);
}

#[test]
fn after_a_reset_on_demand_a_new_join_begins_fresh() {
    let journal = interrupted(1, "prepare", Verb::JoinPrepare);
    let mut steps = vec![mk_step("reset", Verb::Reset), mk_step("prepare", Verb::JoinPrepare)];
    let mut driver = Driver::instructed(journal, mk_instruction(2, steps.clone()));
    driver.on(Input::Opened { config_path: None, transient: Vec::new() });
    driver.succeed(&key(2, "reset"));
    steps[0].done = true;
    driver.on(Input::Instruction(mk_instruction(2, steps)));
    driver.opened();
    assert_eq!(driver.ran(), [("prepare".to_owned(), Mode::Fresh)]);
}

#[test]
fn a_member_is_not_reset_because_a_new_attempt_says_join() {
    let instruction = |attempt| mk_instruction(attempt, vec![mk_step("join", Verb::JoinWorker)]);
    let mut driver = Driver::instructed(Journal::default(), instruction(1));
    driver.opened();
    driver.succeed(&key(1, "join"));
    assert!(driver.phase.journal().joined);
    driver.on(Input::Instruction(instruction(2)));
    driver.opened();
    assert_eq!(driver.ran(), [("join".to_owned(), Mode::Fresh)]);
}

#[test]
fn an_instruction_of_an_attempt_that_is_over_is_not_followed() {
    let mut driver = Driver::instructed(Journal::default(), mk_instruction(3, Vec::new()));
    assert_eq!(driver.on(Input::Instruction(mk_instruction(2, vec![mk_step("join", Verb::JoinWorker)]))), []);
}

#[test]
fn an_interrupted_step_is_looked_into_before_anything_else() {
    let journal = interrupted(1, "join", Verb::JoinWorker);
    let mut driver = Driver::instructed(journal, mk_instruction(1, vec![mk_step("join", Verb::JoinWorker)]));
    let probe = Action::Probe { key: key(1, "join"), verb: Verb::JoinWorker, again: false };
    assert_eq!(driver.actions, [probe]);
    let evidence = Evidence { traces: true, kubelet_conf: true, node: Answer::Yes, ..Evidence::default() };
    driver.on(Input::Probed(evidence));
    assert!(matches!(driver.outcomes()[..], [Outcome::Succeeded(_)]), "{:?}", driver.actions);
    assert!(driver.ran().is_empty() && driver.phase.journal().joined);
}

#[test]
fn evidence_of_etcd_goes_with_the_report_of_an_interrupted_join() {
    let journal = interrupted(1, "etcd-join", Verb::JoinEtcd);
    let mut driver = Driver::instructed(journal, mk_instruction(1, vec![mk_step("etcd-join", Verb::JoinEtcd)]));
    let own = EtcdMember { id: "a".to_owned(), name: "n1".to_owned(), peer_urls: Vec::new(), learner: false };
    let members = EtcdMembers { members: vec![own], self_id: "a".to_owned() };
    let evidence = Evidence { membership: Membership::Voter, members: Some(members.clone()), ..Evidence::default() };
    driver.on(Input::Probed(evidence));
    assert_eq!(driver.outcomes(), [Outcome::Succeeded(Seen { members: Some(members), ..Seen::default() })]);
}

#[test]
fn an_interrupted_step_whose_state_stays_unclear_is_reset_in_the_end() {
    let journal = interrupted(1, "join", Verb::JoinWorker);
    let mut driver = Driver::instructed(journal, mk_instruction(1, vec![mk_step("join", Verb::JoinWorker)]));
    let unclear = Evidence { traces: true, kubelet_conf: true, ..Evidence::default() };
    for _ in 1..PROBES_MAX {
        driver.on(Input::Probed(unclear.clone()));
        assert!(matches!(driver.actions[..], [Action::Probe { again: true, .. }]), "{:?}", driver.actions);
    }
    driver.on(Input::Probed(unclear));
    driver.opened();
    assert_eq!(driver.ran(), [("join".to_owned(), Mode::ResetFirst)]);
}

#[test]
fn a_step_that_was_withdrawn_while_it_was_looked_into_is_not_run() {
    let journal = interrupted(1, "join", Verb::JoinWorker);
    let mut driver = Driver::instructed(journal, mk_instruction(1, vec![mk_step("join", Verb::JoinWorker)]));
    let held = Instruction { hold: true, ..mk_instruction(1, vec![mk_step("join", Verb::JoinWorker)]) };
    driver.on(Input::Instruction(held));
    assert_eq!(driver.on(Input::Probed(Evidence::default())), []);
    assert!(driver.phase.is_idle());
}

#[test]
fn an_agent_that_is_to_end_begins_nothing_and_still_tells_what_ended() {
    let steps = vec![mk_step("join", Verb::JoinWorker), mk_errand("errand-1", Verb::Apply)];
    let mut driver = Driver::instructed(Journal::default(), mk_instruction(1, steps));
    driver.opened();
    driver.on(Input::Stopping);
    driver.succeed(&key(1, "join"));
    assert!(matches!(driver.outcomes()[..], [Outcome::Succeeded(_)]));
    assert!(!has_open(&driver.actions) && driver.phase.is_idle());
}

#[test]
fn a_watch_does_not_keep_a_custodian_from_its_errands() {
    let steps = vec![
        mk_step("ready", Verb::WaitReady),
        mk_errand("errand-1", Verb::Apply),
        mk_errand("errand-2", Verb::Delete),
    ];
    let mut driver = Driver::instructed(Journal::default(), mk_instruction(1, steps));
    assert_eq!(driver.ran(), [("ready".to_owned(), Mode::Fresh)]);
    assert_eq!(driver.actions.last(), Some(&Action::Open(key(1, "errand-1"))));
    driver.opened();
    driver.succeed(&key(1, "errand-1"));
    assert_eq!(driver.actions.last(), Some(&Action::Open(key(1, "errand-2"))));
    let node = NodeObservation { found: true, ..NodeObservation::default() };
    driver.on(Input::Progress(key(1, "ready"), Progress::Node(node.clone()), 7));
    assert_eq!(driver.outcomes(), [Outcome::Progress(Progress::Node(node))]);
}

#[test]
fn the_join_comes_before_errands() {
    let steps = vec![mk_errand("errand-1", Verb::Apply), mk_step("join", Verb::JoinWorker)];
    let driver = Driver::instructed(Journal::default(), mk_instruction(1, steps));
    assert_eq!(driver.actions.last(), Some(&Action::Open(key(1, "join"))));
}

#[test]
fn a_watch_of_an_attempt_that_is_over_is_ended() {
    let mut driver = Driver::instructed(Journal::default(), mk_instruction(1, vec![mk_step("ready", Verb::WaitReady)]));
    driver.on(Input::Instruction(mk_instruction(2, vec![mk_step("ready", Verb::WaitReady)])));
    assert!(driver.actions.contains(&Action::Cancel(key(1, "ready"))));
    assert_eq!(driver.ran(), [("ready".to_owned(), Mode::Fresh)]);
    driver.on(Input::Ended(key(1, "ready"), Ended::Stopped, 1));
    assert_eq!(driver.actions, []);
}

#[test]
fn a_running_step_is_told_again_on_a_new_stream_with_its_latest_phase() {
    let mut driver = Driver::instructed(Journal::default(), mk_instruction(1, vec![mk_step("join", Verb::JoinWorker)]));
    driver.opened();
    let phase = Progress::Phase("kubelet-start".to_owned());
    driver.on(Input::Progress(key(1, "join"), phase.clone(), 7));
    assert_eq!(driver.on(Input::Progress(key(1, "join"), phase.clone(), 9)), []);
    driver.on(Input::Detached);
    driver.on(Input::Attached);
    assert_eq!(driver.outcomes(), [Outcome::Started, Outcome::Progress(phase)]);
}

#[test]
fn a_payload_that_does_not_open_fails_the_step_and_changes_nothing() {
    let mut driver = Driver::instructed(Journal::default(), mk_instruction(1, vec![mk_step("join", Verb::JoinWorker)]));
    let failure = Failure::untouched(Cause::PayloadUnreadable, "x");
    driver.on(Input::Ended(key(1, "join"), Ended::Failed(failure.clone()), 0));
    assert_eq!(driver.outcomes(), [Outcome::Failed(failure)]);
    assert_eq!(driver.phase.journal().changed_by, None);
}

#[test]
fn credentials_are_swept_once_the_join_is_recorded_and_not_between_its_parts() {
    let steps = vec![
        mk_step("prepare", Verb::JoinPrepare),
        mk_step("etcd-join", Verb::JoinEtcd),
        mk_errand("errand-1", Verb::Apply),
    ];
    let mut instruction = mk_instruction(1, steps);
    instruction.steps[1].open = false;
    let mut driver = Driver::instructed(Journal::default(), instruction.clone());
    driver.opened();
    driver.succeed(&key(1, "prepare"));
    driver.on(Input::Opened { config_path: None, transient: vec!["/errand".to_owned()] });
    driver.succeed(&key(1, "errand-1"));
    assert_eq!(driver.phase.journal().litter, ["/k.yaml", "/errand"]);
    instruction.steps.iter_mut().for_each(|step| step.done = true);
    driver.on(Input::Instruction(instruction));
    assert!(driver.actions.contains(&Action::Sweep(vec!["/k.yaml".to_owned(), "/errand".to_owned()])));
    assert_eq!(driver.phase.journal().litter, Vec::<String>::new());
}

#[test]
fn an_errand_that_is_recorded_and_gone_is_forgotten() {
    let mut driver =
        Driver::instructed(Journal::default(), mk_instruction(1, vec![mk_errand("errand-1", Verb::Apply)]));
    driver.opened();
    driver.succeed(&key(1, "errand-1"));
    driver.on(Input::Acknowledged(2));
    driver.on(Input::Instruction(mk_instruction(1, Vec::new())));
    assert!(driver.phase.journal().entries.is_empty());
}

#[test]
fn complete_means_recorded_and_nothing_left_to_tell() {
    let complete = Instruction { complete: true, ..mk_instruction(1, vec![mk_errand("errand-1", Verb::Apply)]) };
    let mut driver = Driver::instructed(Journal::default(), complete);
    assert!(!driver.phase.is_complete());
    driver.opened();
    driver.succeed(&key(1, "errand-1"));
    assert!(!driver.phase.is_complete());
    driver.on(Input::Acknowledged(2));
    assert!(driver.phase.is_complete());
}
