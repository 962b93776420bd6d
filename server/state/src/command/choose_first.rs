use serde::{Deserialize, Serialize};

use crate::{ClusterId, NodeName, Refusal, State, state::Context};

/// Says which node is to be a cluster's first control plane, or leaves it to the rules again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChooseFirst {
    /// Where.
    pub cluster: ClusterId,
    /// Which node; absent: the rules decide.
    pub name: Option<NodeName>,
}

impl ChooseFirst {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<(), Refusal> {
        let cluster = state.cluster(&self.cluster)?;
        if cluster.first == self.name {
            return Ok(());
        }
        if cluster.initialised {
            return Err(Refusal::invalid("first", "the cluster has its first control plane already"));
        }
        if let Some(cluster) = state.clusters.get_mut(&self.cluster) {
            cluster.first.clone_from(&self.name);
        }
        let text = match &self.name {
            Some(name) => format!("{name} is to be the first control plane"),
            None => "the rules choose the first control plane".into(),
        };
        state.event(false, "FirstChosen", text, Some(self.cluster.clone()), None);
        state.refresh_cluster(&self.cluster);
        Ok(())
    }
}
