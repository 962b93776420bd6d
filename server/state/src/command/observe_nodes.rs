use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::record_link::check_linked;
use crate::{
    ClusterId, NodeName, Refusal, State, limits,
    record::{ApiNode, Witnessed},
    state::Context,
};

/// What the cluster's API says of Nodes, from the leader's link. Names that Muster does not know are passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObserveNodes {
    /// The cluster.
    pub cluster: ClusterId,
    /// By name; `None`: there is no such Node.
    pub nodes: BTreeMap<NodeName, Option<ApiNode>>,
}

impl ObserveNodes {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        check_linked(state, &self.cluster)?;
        if self.nodes.len() > limits::OBSERVED_MAX {
            return Err(Refusal::Full { what: "Nodes of one command".into(), limit: limits::OBSERVED_MAX as u64 });
        }
        for (name, seen) in self.nodes {
            let Some(id) = state.node_named(&self.cluster, &name).map(|node| node.id.clone()) else { continue };
            let seen = seen.map(bounded);
            let Some(node) = state.nodes.get_mut(&id) else { continue };
            let known = node.api.as_ref().map(|witnessed| &witnessed.node);
            // One that was never there is not gone.
            if known == Some(&seen) || (known.is_none() && seen.is_none()) {
                continue;
            }
            node.api = Some(Witnessed { node: seen, at_ms: context.now_ms });
            state.touch(&id);
        }
        Ok(())
    }
}

fn bounded(node: ApiNode) -> ApiNode {
    let claim = |text: &str| limits::clip_to(text, limits::CLAIM_MAX);
    let (uid, kubelet_version) = (claim(&node.uid), claim(&node.kubelet_version));
    ApiNode { uid, kubelet_version, message: limits::clip(&node.message), ready: node.ready }
}
