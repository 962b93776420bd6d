use serde::{Deserialize, Serialize};

use super::lock_node::led_cluster;
use crate::{NodeId, Refusal, State, state::Context};

/// Lets a locked node go on. A renewal that was begun but not answered is forgotten, so that either of two keys that
/// asked may ask again; whoever doubts the machine removes it instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnlockNode {
    /// The node.
    pub node: NodeId,
}

impl UnlockNode {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<(), Refusal> {
        if state.node(&self.node)?.locked.is_none() {
            return Ok(());
        }
        let cluster = state.change_node(&self.node, |node| {
            node.locked = None;
            node.identity.next.take_if(|next| next.certificate.is_none());
            led_cluster(node)
        })?;
        state.node_event(false, "NodeUnlocked", "unlocked by an operator".into(), &self.node);
        state.touch(&self.node);
        cluster.iter().for_each(|cluster| state.refresh_cluster(cluster));
        Ok(())
    }
}
