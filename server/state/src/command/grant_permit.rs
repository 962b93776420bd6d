use serde::{Deserialize, Serialize};

use crate::{
    ClusterId, NodeId, Refusal, State,
    record::{PermitKind, Role},
    state::Context,
};

/// Gives a free permit to a node for its coming (`init`) or current (`etcd-join`) attempt.
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
        let cluster = state.cluster(&self.cluster)?;
        let mut permit = cluster.permit(self.kind);
        let node = state.node(&self.node)?;
        let wrong = |problem: &str| Err(Refusal::WrongPhase { phase: node.phase, problem: problem.into() });
        let again = permit.holder.as_ref() == Some(&self.node) && permit.attempt < node.attempt;
        if let Some(holder) = permit.holder.clone().filter(|_| !again) {
            return Err(Refusal::PermitHeld { kind: self.kind.to_string(), holder: holder.to_string() });
        }
        if node.locked.is_some() || !node.placement().is_some_and(|p| p.cluster == self.cluster && p.role == Role::ControlPlane) {
            return wrong("it is no control plane of that cluster, or it is locked");
        }
        permit.attempt = match self.kind {
            PermitKind::Init if cluster.initialised => return wrong("the cluster has been initialised"),
            PermitKind::Init if !node.steps.is_empty() || !node.preflight_passed => return wrong("it can't begin now"),
            PermitKind::Init => node.attempt + 1,
            PermitKind::EtcdJoin => match node.current_step() {
                Some(step) if step.verb.permit() == Some(PermitKind::EtcdJoin) => node.attempt,
                Some(_) | None => return wrong("it is not at its etcd step"),
            },
        };
        permit.holder = Some(self.node.clone());
        permit.since_ms = context.now_ms;
        permit.grants += 1;
        permit.evidence_wanted = false;
        if let Some(cluster) = state.clusters.get_mut(&self.cluster) {
            cluster.permits.insert(self.kind, permit);
        }
        state.node_event(false, "PermitGranted", format!("permit {}", self.kind), &self.node);
        state.touch_cluster(&self.cluster);
        Ok(())
    }
}
