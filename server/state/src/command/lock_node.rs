use serde::{Deserialize, Serialize};

use crate::{NodeId, Refusal, State, limits, state::Context};

/// Tells a node nothing more until it is unlocked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockNode {
    /// The node.
    pub node: NodeId,
    /// Why, in a sentence.
    pub reason: String,
}

impl LockNode {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<(), Refusal> {
        state.node(&self.node)?;
        let reason = if self.reason.is_empty() { "locked by an operator" } else { &self.reason };
        lock(state, &self.node, reason);
        Ok(())
    }
}

pub(super) fn lock(state: &mut State, id: &NodeId, reason: &str) {
    if let Some(node) = state.nodes.get_mut(id) {
        node.locked = Some(limits::clip(reason));
    }
    state.node_event(true, "NodeLocked", reason.to_owned(), id);
    state.touch(id);
}
