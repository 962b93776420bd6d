//! Permits: who holds a serial step of a cluster, and who waits for it.

use muster_proto::admin::v1::Permit as Wire;
use muster_state::{
    Phase, State,
    record::{Cluster, Node, PermitKind, Role, StepState},
};

use super::time::timestamp;

/// All kinds, in the order in which a cluster needs them.
pub const KINDS: [PermitKind; 2] = [PermitKind::Init, PermitKind::EtcdJoin];

/// A permit as it is shown.
pub fn render(state: &State, cluster: &Cluster, kind: PermitKind) -> Wire {
    let permit = cluster.permit(kind);
    let holder = permit.holder.as_ref();
    Wire {
        cluster: cluster.spec.name.clone(),
        kind: kind.to_string(),
        holder: holder.map(ToString::to_string).unwrap_or_default(),
        holder_name: holder.and_then(|id| state.nodes.get(id)).map(Node::label).unwrap_or_default(),
        since: holder.and_then(|_| timestamp(permit.since_ms)),
        waiting: waiting(state, cluster, kind),
        grants: permit.grants,
    }
}

/// Labels of the nodes that wait for it, those first that have waited longest.
fn waiting(state: &State, cluster: &Cluster, kind: PermitKind) -> Vec<String> {
    let waits = |node: &&Node| match kind {
        PermitKind::Init => waits_for_init(node),
        PermitKind::EtcdJoin => waits_at_step(state, node, kind),
    };
    let mut waiting: Vec<&Node> = state.nodes_of(&cluster.id).filter(waits).collect();
    waiting.sort_by_key(|node| (node.timeline.last().map_or(0, |entry| entry.at_ms), &node.id));
    waiting.into_iter().map(Node::label).collect()
}

/// Workers wait for it to have happened, but never get it.
fn waits_for_init(node: &Node) -> bool {
    let control_plane = node.placement().is_some_and(|place| place.role == Role::ControlPlane);
    control_plane && node.phase == Phase::WaitingForInit
}

fn waits_at_step(state: &State, node: &Node, kind: PermitKind) -> bool {
    let step = node.current_step().filter(|step| step.state == StepState::Waiting);
    node.locked.is_none()
        && step.is_some_and(|step| step.verb.permit() == Some(kind) && !state.may_run(node, step.verb))
}
