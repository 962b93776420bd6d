//! Random lives of an agent: servers that lag and forget, streams that break, agents that die at any moment. After each
//! input the promises are checked; at the end everything heals, and the join must come to its end.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::report::Report;

#[derive(Debug, Clone)]
enum Event {
    Attach,
    Detach,
    Instruct,
    InstructFromThePast,
    Hold(bool),
    Acknowledge,
    Answer,
    Succeed,
    Fail,
    Crash { done: bool },
    NewAttempt,
}

/// What is true, whatever the agent believes.
#[derive(Default)]
struct World {
    phase: Phase,
    disk: Journal,
    attempt: u32,
    hold: bool,
    /// The agent was told so.
    held: bool,
    recorded: BTreeSet<Key>,
    past: Vec<Instruction>,
    reports: BTreeMap<u64, Report>,
    /// What the agent waits for.
    opening: bool,
    probing: Option<Key>,
    running: Option<(Key, Verb)>,
    watching: Option<Key>,
    /// Calls that were begun and never looked into since.
    begun: BTreeSet<Key>,
    /// Calls whose work is done on the machine.
    done: BTreeSet<Key>,
    trace: Vec<String>,
}

const STEPS: [(&str, Verb); 4] = [
    ("prepare", Verb::JoinPrepare),
    ("etcd-join", Verb::JoinEtcd),
    ("finish", Verb::JoinFinish),
    ("ready", Verb::WaitReady),
];

impl World {
    fn new() -> Self {
        Self { attempt: 1, ..Self::default() }
    }

    fn instruction(&self) -> Instruction {
        let step = |(id, verb): (&str, Verb)| {
            let done = self.recorded.contains(&key(self.attempt, id));
            Step { done, ..mk_step(id, verb) }
        };
        Instruction { hold: self.hold, ..mk_instruction(self.attempt, STEPS.map(step).to_vec()) }
    }

    fn feed(&mut self, input: Input) {
        self.trace.push(format!("{input:?}"));
        if let Input::Instruction(instruction) = &input
            && instruction.attempt >= self.disk.attempt
        {
            self.held = instruction.hold;
        }
        let (phase, actions) = std::mem::take(&mut self.phase).on(input);
        self.phase = phase;
        let mut saved = false;
        for action in actions {
            self.trace.push(format!("    {action:?}"));
            match action {
                Action::Save => {
                    self.disk = self.phase.journal().clone();
                    saved = true;
                }
                Action::Open(key) => {
                    self.check_wanted(&key);
                    self.opening = true;
                }
                Action::Probe { key, again, .. } => {
                    if !again {
                        self.check_wanted(&key);
                    }
                    self.probing = Some(key);
                }
                Action::Run { key, verb, mode } => self.begin(key, verb, mode, saved),
                Action::Send(report) => {
                    self.reports.insert(report.sequence, report);
                }
                Action::Cancel(key) => {
                    assert_eq!(self.watching.take(), Some(key));
                }
                Action::Sweep(_) => {}
            }
        }
    }

    fn check_wanted(&self, key: &Key) {
        let trace = self.trace.join("\n");
        assert!(!self.held, "begun while held\n{trace}");
        let ended = self.disk.entries.get(key).is_some_and(|entry| entry.state.is_terminal());
        assert!(!ended, "begun although it has ended\n{trace}");
    }

    fn begin(&mut self, key: Key, verb: Verb, mode: Mode, saved: bool) {
        let trace = self.trace.join("\n");
        assert!(saved, "run before it was written down\n{trace}");
        assert!(matches!(self.disk.entries[&key].state, State::Started { .. }), "{trace}");
        if verb.only_looks() {
            assert_eq!(self.watching.replace(key), None, "two watches\n{trace}");
            return;
        }
        assert_eq!(self.running, None, "two calls at once\n{trace}");
        if mode == Mode::Fresh {
            assert!(!self.begun.contains(&key), "made again without looking\n{trace}");
            assert!(!self.done.contains(&key), "made twice\n{trace}");
        }
        if mode == Mode::ResetFirst {
            self.done.clear();
        }
        self.begun.insert(key.clone());
        self.running = Some((key, verb));
    }

    fn evidence(&self, key: &Key) -> Evidence {
        let done = self.done.contains(key);
        let prepared = self.done.iter().any(|key| key.step == "prepare");
        Evidence {
            admin_conf: prepared,
            manifests: prepared,
            traces: prepared || done,
            membership: if done && key.step == "etcd-join" { Membership::Voter } else { Membership::Absent },
            ..Evidence::default()
        }
    }

    fn act(&mut self, event: &Event) {
        match event {
            Event::Attach => {
                self.reports.clear();
                self.feed(Input::Attached);
            }
            Event::Detach => {
                self.reports.clear();
                self.feed(Input::Detached);
            }
            Event::Instruct => {
                let instruction = self.instruction();
                self.past.push(instruction.clone());
                self.feed(Input::Instruction(instruction));
            }
            Event::InstructFromThePast => {
                if let Some(instruction) = self.past.first().cloned() {
                    self.feed(Input::Instruction(instruction));
                }
            }
            Event::Hold(hold) => self.hold = *hold,
            Event::Acknowledge => self.acknowledge(),
            Event::Answer => self.answer(),
            Event::Succeed => self.end(true),
            Event::Fail => self.end(false),
            Event::Crash { done } => self.crash(*done),
            Event::NewAttempt => self.attempt += 1,
        }
    }

    fn acknowledge(&mut self) {
        if let Some((sequence, report)) = self.reports.pop_first() {
            if matches!(report.outcome, Outcome::Succeeded(_)) {
                self.recorded.insert(report.key);
            }
            self.feed(Input::Acknowledged(sequence));
        }
    }

    fn answer(&mut self) {
        if std::mem::take(&mut self.opening) {
            self.feed(Input::Opened { config_path: Some("/k".to_owned()), transient: vec!["/k".to_owned()] });
        } else if let Some(key) = self.probing.take() {
            let evidence = self.evidence(&key);
            // What can be made again as it stands has been looked into.
            self.begun.remove(&key);
            if !self.done.contains(&key) || key.step == "finish" {
                self.done.remove(&key);
            }
            self.feed(Input::Probed(evidence));
        }
    }

    fn end(&mut self, good: bool) {
        let running = self.running.take().map(|(key, _)| key);
        // A watch ends when it has seen what it waits for.
        let ended = running.or_else(|| if good { self.watching.take() } else { None });
        let Some(key) = ended else { return };
        self.begun.remove(&key);
        if good {
            self.done.insert(key.clone());
            self.feed(Input::Ended(key, Ended::Succeeded(Seen::default()), 1));
        } else {
            // The machine was reset after the failure.
            self.done.clear();
            self.feed(Input::Ended(key, Ended::Failed(Failure::untouched(Cause::Unknown, "x")), 1));
        }
    }

    fn crash(&mut self, done: bool) {
        self.trace.push("--- crash".to_owned());
        if let Some((key, _)) = self.running.take()
            && done
        {
            self.done.insert(key);
        }
        (self.opening, self.probing, self.watching) = (false, None, None);
        self.reports.clear();
        self.phase = Phase::new(self.disk.clone());
    }

    /// Everything works from now on.
    fn heal(&mut self) {
        self.hold = false;
        // An attempt that failed is over for good; the server starts another.
        self.attempt += 1;
        self.act(&Event::Attach);
        for _ in 0..40 {
            self.act(&Event::Instruct);
            self.act(&Event::Answer);
            self.act(&Event::Answer);
            self.act(&Event::Answer);
            self.act(&Event::Succeed);
            while !self.reports.is_empty() {
                self.act(&Event::Acknowledge);
            }
        }
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Attach),
        2 => Just(Event::Detach),
        8 => Just(Event::Instruct),
        1 => Just(Event::InstructFromThePast),
        1 => any::<bool>().prop_map(Event::Hold),
        6 => Just(Event::Acknowledge),
        8 => Just(Event::Answer),
        6 => Just(Event::Succeed),
        1 => Just(Event::Fail),
        3 => any::<bool>().prop_map(|done| Event::Crash { done }),
        1 => Just(Event::NewAttempt),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_done_twice_or_unwritten_and_every_join_ends(events in prop::collection::vec(event(), 1..80)) {
        let mut world = World::new();
        for event in &events {
            world.act(event);
        }
        world.heal();
        let attempt = world.attempt;
        for (id, _) in STEPS {
            let wanted = key(attempt, id);
            prop_assert!(world.recorded.contains(&wanted), "{id} was never recorded\n{}", world.trace.join("\n"));
        }
        prop_assert!(world.phase.is_told() && world.phase.is_idle());
    }
}
