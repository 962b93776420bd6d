use serde::{Deserialize, Serialize};

use crate::{NodeId, Refusal, State, state::Context};

/// Lets a locked node go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnlockNode {
    /// The node.
    pub node: NodeId,
}

impl UnlockNode {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<(), Refusal> {
        state.node(&self.node)?;
        let locked = state.nodes.get_mut(&self.node).and_then(|node| node.locked.take());
        if locked.is_some() {
            state.node_event(false, "NodeUnlocked", "unlocked by an operator".into(), &self.node);
            state.touch(&self.node);
        }
        Ok(())
    }
}
