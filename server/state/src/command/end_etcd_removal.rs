use serde::{Deserialize, Serialize};

use crate::{ClusterId, Refusal, State, limits, state::Context};

/// A member that was to be taken out of etcd could not be: etcd refuses, or can't be asked. It has to be decided anew. That one was
/// taken out is seen, and needs no word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndEtcdRemoval {
    /// The cluster.
    pub cluster: ClusterId,
    /// Id of the member, hex.
    pub member: String,
    /// Why not.
    pub problem: String,
}

impl EndEtcdRemoval {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<(), Refusal> {
        state.cluster(&self.cluster)?;
        let view = state.clusters.get_mut(&self.cluster).and_then(|cluster| cluster.etcd.as_mut());
        let Some(view) = view.filter(|view| view.removal(&self.member).is_some()) else { return Ok(()) };
        view.removals.retain(|removal| removal.member != self.member);
        let text = format!("etcd member {} is not taken out: {}", self.member, limits::clip(&self.problem));
        state.event(true, "EtcdMemberKept", text, Some(self.cluster.clone()), None);
        state.refresh_cluster(&self.cluster);
        Ok(())
    }
}
