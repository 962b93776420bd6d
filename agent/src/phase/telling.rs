//! What the server is told, again and again until it has recorded it.

use crate::instruction::Key;
use crate::journal::State;
use crate::phase::{Action, Busy, Phase};
use crate::report::{Outcome, Report};

impl Phase {
    pub(super) fn attached(&mut self, actions: &mut Vec<Action>) {
        self.attached = true;
        self.sequence = 0;
        self.unacknowledged.clear();
        self.repeated.clear();
        let untold: Vec<Key> =
            self.journal.entries.iter().filter(|(_, e)| e.state.is_unreported()).map(|(k, _)| k.clone()).collect();
        for key in untold {
            self.report_end(&key, actions);
        }
        let running: Vec<Key> = self.running().cloned().collect();
        for key in running {
            self.send(key.clone(), Outcome::Started, 0, actions);
            if let Some((progress, elapsed_ms)) = self.latest.get(&key).cloned() {
                self.send(key, Outcome::Progress(progress), elapsed_ms, actions);
            }
        }
    }

    pub(super) fn running(&self) -> impl Iterator<Item = &Key> {
        let busy = match &self.busy {
            Some(Busy::Running { key, .. }) => Some(key),
            _ => None,
        };
        busy.into_iter().chain(&self.watching)
    }

    /// The server shows as undone what this machine has ended: its report was lost with a server. Once per stream.
    pub(super) fn repeat_unrecorded(&mut self, actions: &mut Vec<Action>) {
        let Some(instruction) = &self.instruction else {
            return;
        };
        let undone: Vec<Key> = instruction
            .steps
            .iter()
            .filter(|step| !step.done)
            .map(|step| instruction.key(step))
            .filter(|key| {
                self.journal.entries.get(key).is_some_and(|e| e.state.is_terminal() && !e.state.is_unreported())
            })
            .collect();
        for key in undone {
            if self.repeated.insert(key.clone()) {
                self.report_end(&key, actions);
            }
        }
    }

    pub(super) fn acknowledged(&mut self, sequence: u64, actions: &mut Vec<Action>) {
        let Some(key) = self.unacknowledged.remove(&sequence) else {
            return;
        };
        if let Some(entry) = self.journal.entries.get_mut(&key)
            && let State::Succeeded { reported, .. } | State::Failed { reported, .. } = &mut entry.state
            && !std::mem::replace(reported, true)
        {
            actions.push(Action::Save);
        }
    }

    pub(super) fn report_end(&mut self, key: &Key, actions: &mut Vec<Action>) {
        let Some(entry) = self.journal.entries.get(key) else {
            return;
        };
        let (outcome, elapsed_ms) = match &entry.state {
            State::Started { .. } => return,
            State::Succeeded { seen, elapsed_ms, .. } => (Outcome::Succeeded(seen.clone()), *elapsed_ms),
            State::Failed { failure, elapsed_ms, .. } => (Outcome::Failed(failure.clone()), *elapsed_ms),
        };
        if let Some(sequence) = self.send(key.clone(), outcome, elapsed_ms, actions) {
            self.unacknowledged.insert(sequence, key.clone());
        }
    }

    pub(super) fn send(
        &mut self,
        key: Key,
        outcome: Outcome,
        elapsed_ms: u64,
        actions: &mut Vec<Action>,
    ) -> Option<u64> {
        if !self.attached {
            return None;
        }
        self.sequence += 1;
        actions.push(Action::Send(Report { sequence: self.sequence, key, outcome, elapsed_ms }));
        Some(self.sequence)
    }
}
