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
}

impl RecordLink {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        check_linked(state, &self.cluster)?;
        let Some(cluster) = state.clusters.get_mut(&self.cluster) else {
            return Err(Refusal::not_found("cluster", &self.cluster));
        };
        if cluster.link.as_ref().is_some_and(|link| link.condition == self.condition) {
            return Ok(());
        }
        let message = limits::clip(&self.message);
        let text = format!("{:?}: {message}", self.condition);
        cluster.link = Some(LinkStatus { condition: self.condition, message, since_ms: context.now_ms });
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
        state.changes.push(Change::Cluster(self.cluster));
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
