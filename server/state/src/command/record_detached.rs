use serde::{Deserialize, Serialize};

use crate::{NodeId, Refusal, State, record::Attachment, state::{Change, Context}};

/// A server has lost the stream of a node. Says nothing if the node has another stream by now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordDetached {
    /// The node.
    pub node: NodeId,
    /// The stream that ended.
    pub stream: Attachment,
}

impl RecordDetached {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<(), Refusal> {
        let Some(node) = state.nodes.get_mut(&self.node) else { return Err(Refusal::not_found("node", self.node)) };
        if node.attached == Some(self.stream) {
            node.attached = None;
            state.changes.push(Change::Node(self.node));
        }
        Ok(())
    }
}
