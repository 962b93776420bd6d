use serde::{Deserialize, Serialize};

use crate::{NodeId, Refusal, State, state::Context};

/// Lets a failed node start a new attempt.
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
        let Some(failure) = node.failure.as_ref().filter(|_| node.steps.is_empty()) else {
            return Err(Refusal::WrongPhase { phase: node.phase, problem: "only a failed node can be retried".into() });
        };
        if self.automatic && (failure.retry_at_ms == 0 || context.now_ms < failure.retry_at_ms) {
            return Err(Refusal::WrongPhase { phase: node.phase, problem: "it is not time to retry".into() });
        }
        if let Some(node) = state.nodes.get_mut(&self.node) {
            node.failure = None;
            node.failures = if self.automatic { node.failures } else { 0 };
        }
        let who = if self.automatic { "after its pause" } else { "by an operator" };
        state.node_event(false, "NodeRetried", format!("a new attempt starts {who}"), &self.node);
        state.touch(&self.node);
        Ok(())
    }
}
