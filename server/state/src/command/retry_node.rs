use serde::{Deserialize, Serialize};

use crate::{NodeId, Refusal, State, record::{Step, StepState}, state::Context};

/// Lets a failed node start a new attempt. What it had done is kept if the failed step came after its join: then only
/// that step is run again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryNode {
    /// The node.
    pub node: NodeId,
    /// The conductor's own retry keeps counting failures; an operator's starts the count anew.
    pub automatic: bool,
}

impl RetryNode {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        let node = state.node(&self.node)?;
        if let Some(reason) = &node.locked {
            return Err(Refusal::Locked(reason.clone()));
        }
        let Some(failure) = node.failure.as_ref().filter(|_| node.has_stopped()) else {
            return Err(Refusal::WrongPhase { phase: node.phase, problem: "only a failed node can be retried".into() });
        };
        if self.automatic && (failure.retry_at_ms == 0 || context.now_ms < failure.retry_at_ms) {
            return Err(Refusal::WrongPhase { phase: node.phase, problem: "it is not time to retry".into() });
        }
        if let Some(node) = state.nodes.get_mut(&self.node) {
            node.failure = None;
            let failed: Vec<&mut Step> = node.steps.iter_mut().filter(|step| step.state == StepState::Failed).collect();
            // An attempt and a step id name a piece of work for ever: the same step again is another attempt's.
            node.attempt += u32::from(!failed.is_empty());
            failed.into_iter().for_each(|step| *step = Step::waiting(step.verb));
            node.failures = if self.automatic { node.failures } else { 0 };
        }
        let who = if self.automatic { "after its pause" } else { "by an operator" };
        state.node_event(false, "NodeRetried", format!("a new attempt starts {who}"), &self.node);
        state.touch(&self.node);
        Ok(())
    }
}
