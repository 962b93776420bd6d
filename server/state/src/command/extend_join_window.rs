use serde::{Deserialize, Serialize};

use crate::{
    ClusterId, Refusal, State,
    state::{Change, Context},
};

/// Keeps the join window of a cluster open for a control plane without an agent: `kubeadm-certs` is uploaded if it is not there,
/// and its key stays until then. Never shortens it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtendJoinWindow {
    /// The cluster.
    pub cluster: ClusterId,
    /// For how long from now, in milliseconds.
    pub ttl_ms: u64,
}

impl ExtendJoinWindow {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        let Some(cluster) = state.clusters.get_mut(&self.cluster) else {
            return Err(Refusal::not_found("cluster", &self.cluster));
        };
        let until_ms = context.now_ms.saturating_add(self.ttl_ms);
        cluster.certificates_wanted_until_ms = cluster.certificates_wanted_until_ms.max(until_ms);
        state.changes.push(Change::Cluster(self.cluster));
        Ok(())
    }
}
