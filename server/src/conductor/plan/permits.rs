//! Passes the `etcd-join` permit on, and asks for evidence where a holder failed.

use muster_state::{
    command::{GrantPermit, OpenErrand},
    record::{Cluster, ErrandKind, Node, PermitKind},
};

use super::{Planned, View, errands::custodian};

/// Pause between two looks at etcd for the same evidence.
const EVIDENCE_PAUSE_MS: u64 = 10_000;

pub(super) fn plan(view: View<'_>, cluster: &Cluster) -> Option<Planned> {
    let permit = cluster.permit(PermitKind::EtcdJoin);
    let Some(holder) = permit.holder else {
        return next(view, cluster).map(|node| grant(cluster, node));
    };
    let node = view.state.nodes.get(&holder);
    if let Some(node) = node.filter(|node| wants(node) && permit.attempt < node.attempt) {
        // The holder itself tries again: nobody else may have come in between.
        return Some(grant(cluster, node));
    }
    if !permit.evidence_wanted {
        return None;
    }
    let kind = ErrandKind::ListEtcdMembers(holder);
    let last = view.state.errands.values().rev().find(|errand| errand.cluster == cluster.id && errand.kind == kind);
    if last.is_some_and(|errand| view.now_ms.saturating_sub(errand.created_ms) < EVIDENCE_PAUSE_MS) {
        return None;
    }
    let custodian = custodian(view, cluster)?;
    let free = view.state.errand_in_the_way(&cluster.id, &kind, &custodian).is_none();
    free.then(|| Planned::Errand(OpenErrand { cluster: cluster.id.clone(), kind, custodian }))
}

fn grant(cluster: &Cluster, node: &Node) -> Planned {
    Planned::Grant(GrantPermit { cluster: cluster.id.clone(), kind: PermitKind::EtcdJoin, node: node.id.clone() })
}

/// Whoever waited longest; the lower id of two.
fn next<'a>(view: View<'a>, cluster: &'a Cluster) -> Option<&'a Node> {
    let waiting =
        view.state.nodes_of(&cluster.id).filter(|node| node.locked.is_none() && node.is_proven() && wants(node));
    waiting.min_by_key(|node| (node.timeline.last().map_or(0, |entry| entry.at_ms), node.id.clone()))
}

fn wants(node: &Node) -> bool {
    node.current_step().is_some_and(|step| step.verb.permit() == Some(PermitKind::EtcdJoin))
}
