use serde::{Deserialize, Serialize};

use crate::{
    NodeId, Refusal, State,
    failure::{Rule, backoff_ms, rule_for},
    limits,
    record::{BootstrapTokenState, EtcdMember, LastFailure, Node, Observation, PermitKind, StepState, Verb},
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

impl Report {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        let node = state.node(&self.node)?;
        let step = node.steps.iter().position(|step| step.verb.step_id() == self.step);
        let Some(at) = step.filter(|_| node.attempt == self.attempt) else { return Ok(()) };
        let step = &node.steps[at];
        if step.state == StepState::Done {
            return Ok(());
        }
        let verb = step.verb;
        if node.steps[..at].iter().any(|before| before.state != StepState::Done) || !state.may_run(node, verb) {
            return Err(Refusal::WrongPhase { phase: node.phase, problem: format!("step {} is not open", self.step) });
        }
        match self.outcome {
            StepOutcome::Running { phase, observation } => {
                running(state, &self.node, at, self.elapsed_ms, &phase, observation, context);
            }
            StepOutcome::Succeeded { members, observation } => {
                if verb == Verb::WaitReady && !observation.as_ref().is_some_and(|seen| seen.ready) {
                    return Err(Refusal::invalid("node", "a Ready report needs a Node that is Ready"));
                }
                succeeded(state, &self.node, at, self.elapsed_ms, observation, context);
                after_success(state, &self.node, verb, members.as_deref(), context);
            }
            StepOutcome::Failed { cause, message, clean } => {
                failed(state, &self.node, verb, &cause, &message, clean, context);
            }
        }
        state.touch(&self.node);
        Ok(())
    }
}

fn running(
    state: &mut State,
    id: &NodeId,
    at: usize,
    elapsed_ms: u64,
    phase: &str,
    observation: Option<Observation>,
    context: Context,
) {
    let Some(node) = state.nodes.get_mut(id) else { return };
    let step = &mut node.steps[at];
    if step.state != StepState::Running {
        step.state = StepState::Running;
        step.started_ms = context.now_ms;
    }
    step.phase = limits::clip(phase);
    step.elapsed_ms = elapsed_ms;
    node.observation = observation.or(node.observation.take());
    node.last_seen_ms = context.now_ms;
}

fn succeeded(
    state: &mut State,
    id: &NodeId,
    at: usize,
    elapsed_ms: u64,
    observation: Option<Observation>,
    context: Context,
) {
    let Some(node) = state.nodes.get_mut(id) else { return };
    let step = &mut node.steps[at];
    if step.started_ms == 0 {
        step.started_ms = context.now_ms.saturating_sub(elapsed_ms);
    }
    step.state = StepState::Done;
    step.finished_ms = context.now_ms;
    step.elapsed_ms = elapsed_ms;
    node.observation = observation.or(node.observation.take());
    node.last_seen_ms = context.now_ms;
    let name = step.verb.step_id();
    state.node_event(false, "StepDone", format!("step {name} is done after {elapsed_ms} ms"), id);
}

fn after_success(state: &mut State, id: &NodeId, verb: Verb, members: Option<&[EtcdMember]>, context: Context) {
    let Some(node) = state.nodes.get(id) else { return };
    let Some(place) = node.placement().cloned() else { return };
    match verb {
        Verb::Init => initialised(state, &place.cluster, context),
        Verb::JoinEtcd | Verb::JoinWhole => {
            let voter = members.is_some_and(|members| {
                members.iter().any(|member| member.name == place.name.as_str() && !member.learner)
            });
            settle_etcd_permit(state, id, voter);
        }
        Verb::Custodian | Verb::JoinPrepare | Verb::JoinFinish | Verb::JoinWorker | Verb::WaitReady | Verb::Reset => {}
    }
    let token = state.nodes.get(id).filter(|node| node.has_joined()).and_then(|node| node.bootstrap_token.clone());
    token.iter().for_each(|token| state.end_bootstrap_token(token));
    if verb == Verb::WaitReady && let Some(node) = state.nodes.get_mut(id) {
        (node.failure, node.failures) = (None, 0);
    }
    // A new custodian, a passed permit, an initialised cluster: others may go on.
    state.touch_cluster(&place.cluster);
}

fn initialised(state: &mut State, cluster: &crate::ClusterId, context: Context) {
    let Some(record) = state.clusters.get_mut(cluster) else { return };
    record.initialised = true;
    record.certificates_uploaded_ms = context.now_ms;
    let first = record.first_token.clone().and_then(|id| state.bootstrap_tokens.get_mut(&id));
    if let Some(token) = first.filter(|token| token.state == BootstrapTokenState::Minted) {
        token.state = BootstrapTokenState::Present;
        token.expires_ms = context.now_ms.saturating_add(token.ttl_ms);
    }
    state.event(false, "ClusterInitialised", "the first control plane is up".into(), Some(cluster.clone()), None);
}

/// Frees the permit on evidence that the holder votes; otherwise asks for evidence.
fn settle_etcd_permit(state: &mut State, id: &NodeId, voter: bool) {
    let cluster = state.nodes.get(id).and_then(|node| node.placement().map(|place| place.cluster.clone()));
    let Some(record) = cluster.and_then(|cluster| state.clusters.get_mut(&cluster)) else { return };
    let Some(permit) = record.permits.get_mut(&PermitKind::EtcdJoin) else { return };
    if permit.holder.as_ref() != Some(id) {
        return;
    }
    if voter {
        permit.holder = None;
        permit.evidence_wanted = false;
        state.node_event(false, "PermitReleased", "its etcd member votes".into(), id);
    } else {
        permit.evidence_wanted = true;
        state.node_event(true, "EvidenceWanted", "permit etcd-join stays until etcd shows no learner".into(), id);
    }
}

fn failed(state: &mut State, id: &NodeId, verb: Verb, cause: &str, message: &str, clean: bool, context: Context) {
    let Some(node) = state.nodes.get_mut(id) else { return };
    node.failures += 1;
    let (count, mut rule) = (node.failures, rule_for(cause, clean));
    if count >= limits::ATTEMPTS_MAX {
        rule = Rule::StopAndAsk;
    }
    let retry_at_ms = if rule == Rule::StopAndAsk { 0 } else { context.now_ms + backoff_ms(count) };
    let (step, at_ms) = (verb.step_id().to_owned(), context.now_ms);
    let (cause, message) = (limits::clip(cause), limits::clip(message));
    let text = format!("{cause} in step {step}: {message}");
    node.failure = Some(LastFailure { step, cause, message, rule, count, at_ms, retry_at_ms });
    let held_etcd = node.steps.iter().any(|step| step.verb.permit() == Some(PermitKind::EtcdJoin));
    forget_attempt(node);
    let token = node.bootstrap_token.take();
    let cluster = node.placement().map(|place| place.cluster.clone());
    token.iter().for_each(|token| state.end_bootstrap_token(token));
    state.node_event(true, "StepFailed", text, id);
    if held_etcd {
        settle_etcd_permit(state, id, false);
    }
    let record = cluster.as_ref().and_then(|cluster| state.clusters.get_mut(cluster));
    let init = record.filter(|record| clean && !record.initialised).and_then(|record| record.permits.get_mut(&PermitKind::Init));
    // A reported reset is what lets init move on; without it only an operator does.
    if let Some(permit) = init.filter(|permit| permit.holder.as_ref() == Some(id)) {
        permit.holder = None;
    }
    cluster.iter().for_each(|cluster| state.touch_cluster(cluster));
}

fn forget_attempt(node: &mut Node) {
    node.steps.clear();
    node.observation = None;
    // The next attempt is judged on a fresh report.
    node.preflight_passed = false;
}
