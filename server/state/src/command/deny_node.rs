use serde::{Deserialize, Serialize};

use crate::{NodeId, Refusal, State, limits, record::Standing, state::Context};

/// Keeps a pending machine out: its key gets no answer from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DenyNode {
    /// The machine.
    pub node: NodeId,
    /// Why; shown on the machine's console.
    pub reason: String,
}

impl DenyNode {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<(), Refusal> {
        let node = state.node(&self.node)?;
        if matches!(node.standing, Standing::Admitted(_)) {
            let problem = "it has been admitted; lock or remove it instead".into();
            return Err(Refusal::WrongPhase { phase: node.phase, problem });
        }
        let reason = if self.reason.is_empty() { "no reason given".into() } else { limits::clip(&self.reason) };
        state.change_node(&self.node, |node| node.standing = Standing::Denied(reason.clone()))?;
        state.node_event(true, "NodeDenied", reason, &self.node);
        state.touch(&self.node);
        Ok(())
    }
}
