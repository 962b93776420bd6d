use serde::{Deserialize, Serialize};

use super::{record_link::check_linked, remove_etcd_member::decide};
use crate::{ClusterId, Refusal, State, etcd::left_behind, record::PermitKind, state::Context};

/// Muster's own decision to take out what a failed join left in etcd: a learner that never started, at the address of the permit's
/// holder, whose machine was reset or whose node was removed. Nothing else is ever taken out without an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropEtcdLearner {
    /// The cluster.
    pub cluster: ClusterId,
    /// Id of the member, hex.
    pub member: String,
    /// The peer URL it was seen with.
    pub peer_url: String,
}

impl DropEtcdLearner {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        check_linked(state, &self.cluster)?;
        let cluster = state.cluster(&self.cluster)?;
        let view = cluster.etcd.as_ref().filter(|view| view.is_current());
        let left = left_behind(cluster, &cluster.permit(PermitKind::EtcdJoin));
        let is_it = |id: &str, urls: &[String]| id == self.member && urls.contains(&self.peer_url);
        let Some(left) = left.filter(|left| view.is_some() && is_it(&left.member.id, &left.member.peer_urls)) else {
            let problem = format!("member {} is not what a failed join has left behind", self.member);
            return Err(Refusal::Etcd(problem));
        };
        let text = format!("{} is what a failed join has left behind; it is taken out", left.describe());
        if decide(state, &self.cluster, &self.member, false, context) {
            state.event(false, "EtcdLearnerDropped", text, Some(self.cluster.clone()), None);
            state.refresh_cluster(&self.cluster);
        }
        Ok(())
    }
}
