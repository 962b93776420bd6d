//! Every decision of the agent: what is run, probed, reported and forgotten, and when. Pure: no clock, disk or network.
//!
//! [`Phase::on`] takes the phase and one thing that happened and gives the next phase and what to do, in order. A
//! [`Action::Save`] comes before every action that could not be repeated; the session executes actions strictly in order.

mod event;
mod probe;
mod telling;

use std::collections::{BTreeMap, BTreeSet};

use crate::instruction::{Instruction, Key, Step, Verb};
use crate::journal::{Entry, Journal, State};
use crate::report::{Ended, Failure, Outcome, Progress, Seen};

pub use event::{Action, Input, Mode};
pub use probe::{Answer, Evidence, Membership, Verdict, judge};

/// How often an interrupted call is asked about before lacking answers count as no. With the session's five seconds between
/// them that is four minutes, the time that kubeadm itself gives a control plane to come up.
pub const PROBES_MAX: u32 = 48;

/// The one call that changes the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Busy {
    Probing { key: Key, verb: Verb, looks: u32 },
    Opening { key: Key, verb: Verb, mode: Mode },
    Running { key: Key, verb: Verb },
}

impl Busy {
    fn key(&self) -> &Key {
        match self {
            Busy::Probing { key, .. } | Busy::Opening { key, .. } | Busy::Running { key, .. } => key,
        }
    }
}

/// Where the agent stands.
#[derive(Debug, Clone, Default)]
pub struct Phase {
    journal: Journal,
    instruction: Option<Instruction>,
    attached: bool,
    stopping: bool,
    sequence: u64,
    unacknowledged: BTreeMap<u64, Key>,
    /// Said again on this stream although it was acknowledged once.
    repeated: BTreeSet<Key>,
    busy: Option<Busy>,
    watching: Option<Key>,
    /// Latest news of running calls, for a new stream.
    latest: BTreeMap<Key, (Progress, u64)>,
}

impl Phase {
    /// The phase of a new life with the journal of the last.
    pub fn new(journal: Journal) -> Self {
        Self { journal, ..Self::default() }
    }

    /// What is to be on the disk.
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The instruction in force.
    pub const fn instruction(&self) -> Option<&Instruction> {
        self.instruction.as_ref()
    }

    /// Whether nothing runs that changes the machine.
    pub const fn is_idle(&self) -> bool {
        self.busy.is_none()
    }

    /// Whether the server has recorded everything there is to record.
    pub fn is_told(&self) -> bool {
        !self.journal.entries.values().any(|entry| entry.state.is_unreported())
    }

    /// Whether the server has said that all is done, and nothing runs or waits to be told.
    pub fn is_complete(&self) -> bool {
        let complete = self.instruction.as_ref().is_some_and(|instruction| instruction.complete);
        complete && self.is_idle() && self.is_told()
    }

    /// One step of the agent.
    #[must_use]
    pub fn on(mut self, input: Input) -> (Self, Vec<Action>) {
        let mut actions = Vec::new();
        match input {
            Input::Attached => self.attached(&mut actions),
            Input::Detached => {
                self.attached = false;
                self.unacknowledged.clear();
            }
            Input::Stopping => self.stopping = true,
            Input::Instruction(instruction) => self.instructed(instruction, &mut actions),
            Input::Acknowledged(sequence) => self.acknowledged(sequence, &mut actions),
            Input::Opened { config_path, transient } => self.opened(config_path, transient, &mut actions),
            Input::Probed(evidence) => self.probed(evidence, &mut actions),
            Input::Progress(key, progress, elapsed_ms) => self.progressed(key, progress, elapsed_ms, &mut actions),
            Input::Ended(key, ended, elapsed_ms) => self.ended(key, ended, elapsed_ms, &mut actions),
        }
        (self, actions)
    }

    fn instructed(&mut self, instruction: Instruction, actions: &mut Vec<Action>) {
        // A server that lags behind the log shows an attempt that is over; its work must not be done again.
        if instruction.attempt < self.journal.attempt {
            return;
        }
        if instruction.attempt > self.journal.attempt {
            self.begin_attempt(&instruction, actions);
        }
        self.instruction = Some(instruction);
        self.repeat_unrecorded(actions);
        self.forget_recorded(actions);
        if self.join_is_over() {
            self.sweep(actions);
        }
        self.proceed(actions);
    }

    fn begin_attempt(&mut self, instruction: &Instruction, actions: &mut Vec<Action>) {
        self.journal.attempt = instruction.attempt;
        self.journal.config_path = None;
        let kept = self.busy.as_ref().map(Busy::key).cloned();
        self.journal.entries.retain(|key, _| key.attempt >= instruction.attempt || Some(key) == kept.as_ref());
        self.latest.retain(|key, _| Some(key) == kept.as_ref());
        actions.push(Action::Save);
        if let Some(key) = self.watching.take() {
            actions.push(Action::Cancel(key));
        }
        if kept.is_none() {
            self.sweep(actions);
        }
    }

    /// Errands would fill the journal for ever: one that is recorded and no longer asked for is forgotten.
    fn forget_recorded(&mut self, actions: &mut Vec<Action>) {
        let Some(instruction) = &self.instruction else {
            return;
        };
        let before = self.journal.entries.len();
        self.journal.entries.retain(|key, entry| {
            !entry.errand
                || !entry.state.is_terminal()
                || entry.state.is_unreported()
                || instruction.step(key).is_some()
        });
        if self.journal.entries.len() != before {
            actions.push(Action::Save);
        }
    }

    /// Whether no further step of the join needs what was laid down for it.
    fn join_is_over(&self) -> bool {
        let Some(instruction) = &self.instruction else {
            return false;
        };
        let mut steps = instruction.steps.iter().filter(|step| step.verb.makes_member()).peekable();
        self.is_idle() && steps.peek().is_some() && steps.all(|step| step.done)
    }

    fn sweep(&mut self, actions: &mut Vec<Action>) {
        if self.journal.litter.is_empty() {
            return;
        }
        actions.push(Action::Sweep(std::mem::take(&mut self.journal.litter)));
        // After the files: a crash in between sweeps twice, which is harmless; the other order would leave them for ever.
        actions.push(Action::Save);
    }

    /// Begins what is to be begun, if anything is.
    fn proceed(&mut self, actions: &mut Vec<Action>) {
        let Some(instruction) = self.instruction.clone() else {
            return;
        };
        if instruction.hold || self.stopping {
            return;
        }
        if let Some(step) = self.frontier(&instruction)
            && step.verb.only_looks()
            && self.watching.is_none()
        {
            let key = instruction.key(step);
            self.watching = Some(key.clone());
            self.run(key, step.verb, Mode::Fresh, actions);
        }
        if self.is_idle()
            && let Some(step) = self.next(&instruction)
        {
            self.begin(instruction.key(step), step, actions);
        }
    }

    /// The first step of the join that is not recorded as done, if it may run and has not ended here.
    fn frontier<'a>(&self, instruction: &'a Instruction) -> Option<&'a Step> {
        let step = instruction.steps.iter().filter(|step| !step.errand).find(|step| !step.done)?;
        (step.open && !self.has_ended(&instruction.key(step))).then_some(step)
    }

    fn next<'a>(&self, instruction: &'a Instruction) -> Option<&'a Step> {
        let join = self.frontier(instruction).filter(|step| !step.verb.only_looks());
        let errand = || {
            let mut errands = instruction.steps.iter().filter(|step| step.errand && step.open && !step.done);
            errands.find(|step| !self.has_ended(&instruction.key(step)))
        };
        join.or_else(errand)
    }

    fn has_ended(&self, key: &Key) -> bool {
        self.journal.entries.get(key).is_some_and(|entry| entry.state.is_terminal())
    }

    fn begin(&mut self, key: Key, step: &Step, actions: &mut Vec<Action>) {
        let verb = step.verb;
        let interrupted = self.journal.entries.contains_key(&key);
        if interrupted && verb.makes_member() {
            self.busy = Some(Busy::Probing { key: key.clone(), verb, looks: 1 });
            actions.push(Action::Probe { key, verb, again: false });
            return;
        }
        // What another attempt left half done would stand in the way. A machine that is a member is left alone: kubeadm
        // refuses, and whoever wants it reset says so.
        let half_done = self.journal.changed_by.is_some_and(|attempt| attempt < key.attempt) && !self.journal.joined;
        let mode = if verb.begins_join() && half_done { Mode::ResetFirst } else { Mode::Fresh };
        self.open(key, verb, mode, actions);
    }

    fn open(&mut self, key: Key, verb: Verb, mode: Mode, actions: &mut Vec<Action>) {
        self.busy = Some(Busy::Opening { key: key.clone(), verb, mode });
        actions.push(Action::Open(key));
    }

    fn opened(&mut self, config_path: Option<String>, transient: Vec<String>, actions: &mut Vec<Action>) {
        let Some(Busy::Opening { key, verb, mode }) = self.busy.take() else {
            return;
        };
        if config_path.is_some() && verb.makes_member() {
            self.journal.config_path = config_path;
        }
        for path in transient {
            if !self.journal.litter.contains(&path) {
                self.journal.litter.push(path);
            }
        }
        if verb.makes_member() {
            self.journal.changed_by = Some(key.attempt);
        }
        self.busy = Some(Busy::Running { key: key.clone(), verb });
        self.run(key, verb, mode, actions);
    }

    fn run(&mut self, key: Key, verb: Verb, mode: Mode, actions: &mut Vec<Action>) {
        let errand = self.is_errand(&key);
        self.journal
            .entries
            .insert(key.clone(), Entry { verb, errand, state: State::Started { phase: String::new() } });
        actions.push(Action::Save);
        self.send(key.clone(), Outcome::Started, 0, actions);
        actions.push(Action::Run { key, verb, mode });
    }

    fn is_errand(&self, key: &Key) -> bool {
        let known = self.journal.entries.get(key).map(|entry| entry.errand);
        let asked = || self.instruction.as_ref().and_then(|i| i.step(key)).is_some_and(|step| step.errand);
        known.unwrap_or_else(asked)
    }

    /// Whether the server still wants this step to run now; it may have changed its mind while the machine was looked into.
    fn is_wanted(&self, key: &Key) -> bool {
        let Some(instruction) = &self.instruction else {
            return false;
        };
        !instruction.hold && !self.stopping && instruction.step(key).is_some_and(|step| step.open && !step.done)
    }

    fn probed(&mut self, evidence: Evidence, actions: &mut Vec<Action>) {
        let Some(Busy::Probing { key, verb, looks }) = self.busy.take() else {
            return;
        };
        let verdict = judge(verb, &evidence, looks < PROBES_MAX);
        if verdict != Verdict::Completed && !self.is_wanted(&key) {
            return self.proceed(actions);
        }
        match verdict {
            Verdict::Completed => {
                let seen = Seen { members: evidence.members, ..Seen::default() };
                self.conclude(&key, verb, Ended::Succeeded(seen), 0, actions);
                self.proceed(actions);
            }
            Verdict::Unclear => {
                self.busy = Some(Busy::Probing { key: key.clone(), verb, looks: looks + 1 });
                actions.push(Action::Probe { key, verb, again: true });
            }
            Verdict::Again => self.open(key, verb, Mode::Fresh, actions),
            Verdict::Remainder => self.open(key, verb, Mode::Remainder, actions),
            Verdict::ResetThenAgain => self.open(key, verb, Mode::ResetFirst, actions),
            Verdict::GiveUp => self.open(key, verb, Mode::GiveUp, actions),
        }
    }

    fn progressed(&mut self, key: Key, progress: Progress, elapsed_ms: u64, actions: &mut Vec<Action>) {
        if !self.running().any(|running| *running == key) {
            return;
        }
        if self.latest.get(&key).is_some_and(|(last, _)| *last == progress) {
            return;
        }
        if let (Progress::Phase(word), Some(entry)) = (&progress, self.journal.entries.get_mut(&key))
            && let State::Started { phase } = &mut entry.state
        {
            // For people who look into the journal; not worth a write of its own.
            phase.clone_from(word);
        }
        self.latest.insert(key.clone(), (progress.clone(), elapsed_ms));
        self.send(key, Outcome::Progress(progress), elapsed_ms, actions);
    }

    fn ended(&mut self, key: Key, ended: Ended, elapsed_ms: u64, actions: &mut Vec<Action>) {
        let verb = match self.busy.take() {
            Some(Busy::Running { key: k, verb } | Busy::Opening { key: k, verb, .. }) if k == key => Some(verb),
            other => {
                self.busy = other;
                None
            }
        };
        let verb = verb
            .or_else(|| (self.watching.as_ref() == Some(&key)).then(|| self.watching.take()).map(|_| Verb::WaitReady));
        let Some(verb) = verb else { return };
        self.latest.remove(&key);
        if ended == Ended::Stopped {
            return;
        }
        self.conclude(&key, verb, ended, elapsed_ms, actions);
        self.proceed(actions);
    }

    /// Writes down how a call ended, and says so.
    fn conclude(&mut self, key: &Key, verb: Verb, ended: Ended, elapsed_ms: u64, actions: &mut Vec<Action>) {
        let errand = self.is_errand(key);
        let state = match ended {
            Ended::Succeeded(seen) => {
                self.mark_success(verb);
                State::Succeeded { seen, elapsed_ms, reported: false }
            }
            Ended::Failed(failure) => {
                self.mark_failure(verb, &failure);
                State::Failed { failure, elapsed_ms, reported: false }
            }
            Ended::Stopped => return,
        };
        self.journal.entries.insert(key.clone(), Entry { verb, errand, state });
        actions.push(Action::Save);
        if !verb.only_looks() && self.nothing_joins() {
            self.sweep(actions);
        }
        self.report_end(key, actions);
    }

    /// Whether no step of this attempt's join can still need its files: it failed, or there is none under way.
    fn nothing_joins(&self) -> bool {
        let attempt = self.journal.attempt;
        let mut join =
            self.journal.entries.iter().filter(|(key, e)| key.attempt == attempt && e.verb.makes_member()).peekable();
        let failed = join.clone().any(|(_, e)| matches!(e.state, State::Failed { .. }));
        join.peek().is_none() || failed || self.journal.joined
    }

    fn mark_success(&mut self, verb: Verb) {
        if verb.ends_join() {
            self.journal.joined = true;
        }
        if verb == Verb::Reset {
            self.mark_clean();
        }
    }

    fn mark_failure(&mut self, verb: Verb, failure: &Failure) {
        if verb.makes_member() && failure.clean && !self.journal.joined {
            self.mark_clean();
        }
    }

    fn mark_clean(&mut self) {
        self.journal.joined = false;
        self.journal.changed_by = None;
    }
}

#[cfg(test)]
mod tests;
