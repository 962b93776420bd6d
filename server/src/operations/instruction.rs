//! What one node must do now, as a pure function of the state. No secret is in it.

use muster_state::{
    NodeId, State,
    record::{Errand, ErrandKind, Node, StepState, Verb},
};

/// The current instruction of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Attempt of the join.
    pub attempt: u32,
    /// Frozen node name; empty until admitted.
    pub node_name: String,
    /// Name of the cluster.
    pub cluster: String,
    /// Its Kubernetes version.
    pub kubernetes_version: String,
    /// Word of the phase.
    pub phase: String,
    /// What is waited for.
    pub message: String,
    /// Run nothing new.
    pub hold: bool,
    /// All is done.
    pub complete: bool,
    /// Steps of the attempt in order, then errands.
    pub steps: Vec<StepOf>,
}

/// One step of an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepOf {
    /// Its id.
    pub id: String,
    /// What to do.
    pub task: Task,
    /// It may run.
    pub open: bool,
    /// Its success is committed.
    pub done: bool,
}

/// What to do: a step of the node's own join, or an errand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Of its own join.
    Own(Verb),
    /// For the cluster.
    Errand(ErrandKind),
}

impl StepOf {
    /// Something has to be sent along: files, objects, secrets.
    pub fn needs_payload(&self) -> bool {
        let carries = match &self.task {
            Task::Own(Verb::WaitReady | Verb::Reset) => false,
            Task::Errand(kind) if kind.is_of_requests() => false,
            Task::Errand(ErrandKind::ListEtcdMembers(_)) => false,
            Task::Own(_) | Task::Errand(_) => true,
        };
        carries && self.open && !self.done
    }

    /// After this the agent ends the call and reports a failure. All exceed the worst success seen: a control-plane
    /// join that succeeded after 247 s, and kubeadm's own limits added up (14 min for a worker, 23 min for a control
    /// plane).
    pub fn limit_ms(&self) -> u64 {
        const MINUTE: u64 = 60_000;
        match &self.task {
            Task::Own(Verb::Init | Verb::JoinWhole | Verb::JoinPrepare | Verb::JoinFinish) => 30 * MINUTE,
            Task::Own(Verb::JoinWorker | Verb::JoinEtcd) => 20 * MINUTE,
            // Nodes wait for a network plugin as long as it takes.
            Task::Own(Verb::WaitReady) => 24 * 60 * MINUTE,
            Task::Own(Verb::Custodian | Verb::Reset) | Task::Errand(_) => 5 * MINUTE,
        }
    }
}

/// The instruction for a node; `None` if there is no such node.
pub fn of(state: &State, id: &NodeId) -> Option<Instruction> {
    let node = state.nodes.get(id)?;
    let place = node.placement();
    let spec = place.and_then(|place| state.clusters.get(&place.cluster)).map(|cluster| &cluster.spec);
    let mut before_done = true;
    let own_steps = node.steps.iter().map(|step| {
        let step = own(state, node, step, before_done);
        before_done &= step.done;
        step
    });
    let mut steps: Vec<StepOf> = own_steps.collect();
    steps.extend(state.open_errands(id).map(errand));
    Some(Instruction {
        attempt: node.attempt,
        node_name: place.map(|place| place.name.to_string()).unwrap_or_default(),
        cluster: spec.map(|spec| spec.name.clone()).unwrap_or_default(),
        kubernetes_version: spec.map(|spec| spec.kubernetes_version.clone()).unwrap_or_default(),
        phase: node.phase.to_string(),
        message: node.message.clone(),
        hold: node.locked.is_some(),
        complete: !node.steps.is_empty() && node.steps.iter().all(|step| step.state == StepState::Done),
        steps,
    })
}

/// Open is only the step whose turn it is: what it needs is released then, and not before.
fn own(state: &State, node: &Node, step: &muster_state::record::Step, before_done: bool) -> StepOf {
    let done = step.state == StepState::Done;
    let open = before_done && node.locked.is_none() && state.may_run(node, step.verb);
    StepOf { id: step.verb.step_id().into(), task: Task::Own(step.verb), open, done }
}

fn errand(errand: &Errand) -> StepOf {
    StepOf { id: errand.step_id(), task: Task::Errand(errand.kind.clone()), open: true, done: false }
}
