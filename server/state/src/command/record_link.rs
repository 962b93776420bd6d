use serde::{Deserialize, Serialize};

use crate::{
    ClusterId, Refusal, State, limits,
    record::{LinkCondition, LinkStatus},
    state::{Change, Context},
};

/// How the leader's link to a cluster's API is. The same word again changes nothing, so that a sentence that differs each time
/// does not fill the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordLink {
    /// The cluster.
    pub cluster: ClusterId,
    /// In a word.
    pub condition: LinkCondition,
    /// In a sentence.
    pub message: String,
    /// Whether everybody may read `kube-public/cluster-info`, where that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_info_public: Option<bool>,
}

impl RecordLink {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        check_linked(state, &self.cluster)?;
        let Some(cluster) = state.clusters.get_mut(&self.cluster) else {
            return Err(Refusal::not_found("cluster", &self.cluster));
        };
        let known = cluster.link.as_ref();
        let public = self.cluster_info_public.or(known.and_then(|link| link.cluster_info_public));
        if let Some(link) = cluster.link.as_mut().filter(|link| link.condition == self.condition) {
            if link.cluster_info_public != public {
                link.cluster_info_public = public;
                state.changes.push(Change::Cluster(self.cluster));
            }
            return Ok(());
        }
        let message = limits::clip(&self.message);
        let text = format!("{:?}: {message}", self.condition);
        let (condition, since_ms) = (self.condition, context.now_ms);
        cluster.link = Some(LinkStatus { condition, message, since_ms, cluster_info_public: public });
        let (warning, reason) = match self.condition {
            LinkCondition::Connected => (false, "LinkUp"),
            LinkCondition::Unreachable
            | LinkCondition::Untrusted
            | LinkCondition::Unauthorized
            | LinkCondition::Forbidden
            | LinkCondition::Throttled
            | LinkCondition::Failing
            | LinkCondition::NoKey => (true, "LinkDown"),
        };
        state.event(warning, reason, text, Some(self.cluster.clone()), None);
        // Nodes that wait say what the link says.
        state.refresh_cluster(&self.cluster);
        Ok(())
    }
}

/// Only of a linked cluster can anything be known by its API.
pub(super) fn check_linked(state: &State, cluster: &ClusterId) -> Result<(), Refusal> {
    match state.cluster(cluster)?.spec.link {
        Some(_) => Ok(()),
        None => Err(Refusal::invalid("spec.kubernetes.access", "the cluster is detached")),
    }
}
