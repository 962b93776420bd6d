use serde::{Deserialize, Serialize};

use super::open_errand::drop_errands;
use crate::{
    ClusterId, NodeId, Refusal, State, limits,
    record::{Node, Role},
    state::Context,
};

/// Tells a node nothing more until it is unlocked. The first reason stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockNode {
    /// The node.
    pub node: NodeId,
    /// Why, in a sentence.
    pub reason: String,
}

impl LockNode {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<(), Refusal> {
        state.node(&self.node)?;
        let reason = if self.reason.is_empty() { "locked by an operator" } else { &self.reason };
        lock(state, &self.node, reason);
        Ok(())
    }
}

pub(super) fn lock(state: &mut State, id: &NodeId, reason: &str) {
    let Some(node) = state.nodes.get_mut(id).filter(|node| node.locked.is_none()) else { return };
    node.locked = Some(limits::clip(reason));
    let cluster = led_cluster(node);
    recall_approvals(state, id);
    state.node_event(true, "NodeLocked", reason.to_owned(), id);
    // What it had to do is planned anew for another custodian.
    drop_errands(state, |errand| errand.custodian == *id);
    state.touch(id);
    cluster.iter().for_each(|cluster| state.refresh_cluster(cluster));
}

/// Nothing is approved any more that was decided for that node and not yet said.
pub(super) fn recall_approvals(state: &mut State, id: &NodeId) {
    let node = state.nodes.get(id).and_then(|node| Some((node.placement()?.cluster.clone(), node.requests.clone())));
    node.iter().for_each(|(cluster, requests)| state.recall_approvals(cluster, requests));
}

/// The cluster whose other nodes may see a lock of this one: they wait for permits that control planes hold and for errands that
/// control planes do. A worker's lock concerns nobody else, and a cluster has thousands of them.
pub(super) fn led_cluster(node: &Node) -> Option<ClusterId> {
    let place = node.placement().filter(|place| place.role == Role::ControlPlane)?;
    Some(place.cluster.clone())
}

/// Locks a node whose key is in two hands. What its attempt was given is ended too: the thief may hold it.
pub(super) fn lock_as_copied(state: &mut State, id: &NodeId, reason: &str) {
    let token = state.nodes.get(id).and_then(|node| node.bootstrap_token.clone());
    token.iter().for_each(|token| state.end_bootstrap_token(token));
    lock(state, id, reason);
}
