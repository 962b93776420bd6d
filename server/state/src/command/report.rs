use serde::{Deserialize, Serialize};

mod failed;
mod succeeded;

use crate::{
    NodeId, Refusal, State, limits,
    record::{EtcdMember, Node, Observation, StepState, Verb},
    state::Context,
};

/// How far a step is, from the node that runs it. Repeats and reports of earlier attempts change nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The node.
    pub node: NodeId,
    /// Its attempt.
    pub attempt: u32,
    /// Step id.
    pub step: String,
    /// What happened.
    pub outcome: StepOutcome,
    /// As the agent measured it, milliseconds.
    pub elapsed_ms: u64,
}

/// What happened to a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepOutcome {
    /// It runs; kubeadm is in that phase, the Node was seen so.
    Running {
        /// kubeadm's phase.
        phase: String,
        /// What the agent saw of its Node.
        observation: Option<Observation>,
    },
    /// It is done.
    Succeeded {
        /// What the own etcd answered, after an etcd step.
        members: Option<Vec<EtcdMember>>,
        /// What the agent saw of its Node.
        observation: Option<Observation>,
    },
    /// It failed.
    Failed {
        /// Word of the closed list.
        cause: String,
        /// kubeadm's last error, scrubbed.
        message: String,
        /// The machine is as it was before the attempt.
        clean: bool,
    },
}

/// The step that is reported on.
struct At<'a> {
    node: &'a NodeId,
    /// Place of the step in its attempt.
    index: usize,
    verb: Verb,
    elapsed_ms: u64,
    now_ms: u64,
}

impl Report {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        let node = state.node(&self.node)?;
        if let Some(reason) = &node.locked {
            return Err(Refusal::Locked(reason.clone()));
        }
        let Some((index, verb)) = self.step_of(node) else { return Ok(()) };
        let step = &node.steps[index];
        let is_next = node.steps[..index].iter().all(|before| before.state == StepState::Done);
        // A step that was begun under a permit may end without it: what happened on the machine has happened.
        let may_run = step.state == StepState::Running || state.may_run(node, verb);
        if !is_next || !may_run {
            return Err(Refusal::WrongPhase { phase: node.phase, problem: format!("step {} is not open", self.step) });
        }
        let at = At { node: &self.node, index, verb, elapsed_ms: self.elapsed_ms, now_ms: context.now_ms };
        match self.outcome {
            StepOutcome::Running { phase, observation } => running(state, &at, &phase, observation),
            StepOutcome::Succeeded { members, observation } => {
                if verb == Verb::WaitReady && !observation.as_ref().is_some_and(|seen| seen.ready) {
                    return Err(Refusal::invalid("node", "a Ready report needs a Node that is Ready"));
                }
                succeeded::apply(state, &at, members.as_deref(), observation);
            }
            StepOutcome::Failed { cause, message, clean } => {
                failed::apply(state, &at, failed::Failure { cause: &cause, message: &message, clean });
            }
        }
        state.touch(&self.node);
        Ok(())
    }

    /// The step of the current attempt that this is about, unless its end has been reported before.
    fn step_of(&self, node: &Node) -> Option<(usize, Verb)> {
        let mut steps = node.steps.iter().enumerate().filter(|_| node.attempt == self.attempt);
        let (index, step) = steps.find(|(_, step)| step.verb.step_id() == self.step)?;
        match step.state {
            StepState::Waiting | StepState::Running => Some((index, step.verb)),
            StepState::Done | StepState::Failed => None,
        }
    }
}

fn running(state: &mut State, at: &At<'_>, phase: &str, observation: Option<Observation>) {
    let Some(node) = state.nodes.get_mut(at.node) else { return };
    let step = &mut node.steps[at.index];
    if step.state != StepState::Running {
        step.state = StepState::Running;
        step.started_ms = at.now_ms;
    }
    step.phase = limits::clip(phase);
    step.elapsed_ms = at.elapsed_ms;
    observe(node, observation);
    node.last_seen_ms = at.now_ms;
}

fn observe(node: &mut Node, observation: Option<Observation>) {
    if let Some(seen) = observation {
        let claim = |text: &str| limits::clip_to(text, limits::CLAIM_MAX);
        let (message, kubelet_version, uid) = (limits::clip(&seen.message), claim(&seen.kubelet_version), claim(&seen.uid));
        node.observation = Some(Observation { message, kubelet_version, uid, ..seen });
    }
}
