use serde::{Deserialize, Serialize};

use super::open_errand::drop_errands;
use crate::{
    ClusterId, NodeId, Refusal, State, etcd, limits,
    planted::{Bug, is_planted},
    record::{ErrandKind, Node, Permit, PermitKind, Role, StepState},
    state::Context,
};

/// Gives a free permit to a node for its coming (`init`) or current (`etcd-join`) attempt. Its holder may get it
/// again for a later attempt of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantPermit {
    /// Where.
    pub cluster: ClusterId,
    /// What for.
    pub kind: PermitKind,
    /// To whom.
    pub node: NodeId,
}

impl GrantPermit {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        let permit = state.cluster(&self.cluster)?.permit(self.kind);
        let node = state.node(&self.node)?;
        let attempt = match self.kind {
            PermitKind::Init => node.attempt + 1,
            PermitKind::EtcdJoin => node.attempt,
        };
        let is_own = permit.holder.as_ref() == Some(&self.node) && permit.attempt < attempt;
        if let Some(holder) = permit.holder.filter(|_| !is_own && !is_planted(Bug::PermitGivenTwice)) {
            return Err(Refusal::PermitHeld { kind: self.kind.to_string(), holder: holder.to_string() });
        }
        if let Some(problem) = self.problem(state, node) {
            return Err(Refusal::WrongPhase { phase: node.phase, problem: problem.into() });
        }
        let hindrance = || state.etcd_hindrance(&self.cluster, node);
        if let Some(problem) = (self.kind == PermitKind::EtcdJoin).then(hindrance).flatten() {
            return Err(Refusal::WrongPhase { phase: node.phase, problem });
        }
        let holder = Some(self.node.clone());
        let (since_ms, grants) = (context.now_ms, permit.grants + 1);
        let addresses = match self.kind {
            PermitKind::Init => Vec::new(),
            PermitKind::EtcdJoin => etcd_addresses(state, &self.cluster, node),
        };
        let permit = Permit { holder, attempt, since_ms, grants, addresses, ..Permit::default() };
        if let Some(cluster) = state.clusters.get_mut(&self.cluster) {
            cluster.permits.insert(self.kind, permit);
        }
        drop_etcd_lists(state, &self.node);
        state.node_event(false, "PermitGranted", format!("permit {}", self.kind), &self.node);
        state.touch(&self.node);
        state.refresh_cluster(&self.cluster);
        Ok(())
    }

    /// Why that node can't have it now.
    fn problem(&self, state: &State, node: &Node) -> Option<&'static str> {
        let is_candidate =
            node.placement().is_some_and(|place| place.cluster == self.cluster && place.role == Role::ControlPlane);
        if node.locked.is_some() || !node.is_proven() || !is_candidate {
            return Some("it is no control plane of that cluster, it is locked, or it has not proved itself");
        }
        match self.kind {
            PermitKind::Init if state.clusters.get(&self.cluster).is_none_or(|cluster| cluster.initialised) => {
                Some("the cluster has been initialised")
            }
            PermitKind::Init if !node.steps.is_empty() || node.failure.is_some() || !node.preflight_passed => {
                Some("it can't begin now")
            }
            PermitKind::Init => None,
            PermitKind::EtcdJoin => {
                let step = node.current_step().filter(|step| step.state == StepState::Waiting);
                let at_etcd = step.is_some_and(|step| step.verb.permit() == Some(PermitKind::EtcdJoin));
                (!at_etcd).then_some("it is not at its etcd step")
            }
        }
    }
}

/// Where the node's etcd would listen, kept for the time after its record: only in a cluster whose etcd the leader looks at.
fn etcd_addresses(state: &State, cluster: &ClusterId, node: &Node) -> Vec<String> {
    let watched = state.clusters.get(cluster).filter(|cluster| cluster.spec.link.is_some());
    let addresses = watched.map(|cluster| etcd::addresses(cluster, node)).unwrap_or_default();
    addresses.into_iter().take(limits::ETCD_ADDRESSES_MAX).collect()
}

/// Drops lists of etcd's members that were asked for earlier: evidence on an attempt must be younger than its end.
pub(super) fn drop_etcd_lists(state: &mut State, about: &NodeId) {
    let kind = ErrandKind::ListEtcdMembers(about.clone());
    drop_errands(state, |errand| errand.kind == kind);
}
