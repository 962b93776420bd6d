use serde::{Deserialize, Serialize};

use super::{grant_permit::drop_etcd_lists, lock_node::recall_approvals, open_errand::drop_errands};
use crate::{NodeId, Refusal, State, record::PermitKind, state::{Change, Context}};

/// Forgets a machine: its identity is no longer accepted and its token is ended. Does nothing to the machine or to
/// its Node. An `etcd-join` permit it holds is passed on only when etcd shows no learner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveNode {
    /// The machine.
    pub node: NodeId,
    /// Why; kept in the events.
    pub reason: String,
}

impl RemoveNode {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<(), Refusal> {
        state.node(&self.node)?;
        let reason = if self.reason.is_empty() { "removed by an operator" } else { &self.reason };
        remove(state, &self.node, reason);
        Ok(())
    }
}

pub(super) fn remove(state: &mut State, id: &NodeId, reason: &str) {
    let label = state.nodes.get(id).map(crate::record::Node::label).unwrap_or_default();
    state.node_event(true, "NodeRemoved", format!("{label}: {reason}"), id);
    recall_approvals(state, id);
    let Some(node) = state.take_node(id) else { return };
    node.bootstrap_token.iter().for_each(|token| state.end_bootstrap_token(token));
    // What it had to do is planned anew for another custodian.
    drop_errands(state, |errand| errand.custodian == *id);
    let cluster = node.placement().map(|place| place.cluster.clone());
    if let Some(cluster) = cluster {
        if let Some(record) = state.clusters.get_mut(&cluster) {
            let init = record.permits.get_mut(&PermitKind::Init).filter(|permit| permit.holder.as_ref() == Some(id));
            // An operator's word moves init on; once init has succeeded it never moves.
            if let Some(permit) = init.filter(|_| !record.initialised) {
                permit.holder = None;
            }
        }
        state.want_etcd_evidence(&cluster, id, true);
        drop_etcd_lists(state, id);
        state.refresh_cluster(&cluster);
    }
    state.changes.push(Change::Node(id.clone()));
}
