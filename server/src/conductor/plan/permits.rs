//! Passes the `etcd-join` permit on, and asks for evidence where a holder failed: of the leader's own look at etcd, which needs no
//! asking, or else of a custodian.

use muster_state::{
    NodeId,
    command::{DropEtcdLearner, GrantPermit, OpenErrand},
    etcd::left_behind,
    record::{Cluster, ErrandKind, Node, Permit, PermitKind},
};

use super::{Planned, View, errands::custodian};

/// Pause between two looks at etcd for the same evidence.
const EVIDENCE_PAUSE_MS: u64 = 10_000;

pub(super) fn plan(view: View<'_>, cluster: &Cluster) -> Option<Planned> {
    let permit = cluster.permit(PermitKind::EtcdJoin);
    let Some(holder) = permit.holder.clone() else {
        return next(view, cluster).map(|node| grant(cluster, node));
    };
    let node = view.state.nodes.get(&holder);
    if let Some(node) = node.filter(|node| wants(node) && permit.attempt < node.attempt && !waits(view, cluster, node))
    {
        // The holder itself tries again: nobody else may have come in between.
        return Some(grant(cluster, node));
    }
    if !permit.evidence_wanted {
        return None;
    }
    match cluster.etcd.as_ref().filter(|seen| cluster.spec.link.is_some() && seen.is_current()) {
        Some(seen) => {
            let left = drop_learner(cluster, &permit).filter(|left| seen.removal(&left.member).is_none());
            left.map(Planned::DropLearner)
        }
        None => list_members(view, cluster, holder),
    }
}

/// What the holder left behind, which keeps the permit.
fn drop_learner(cluster: &Cluster, permit: &Permit) -> Option<DropEtcdLearner> {
    let left = &left_behind(cluster, permit)?.member;
    let peer_url = left.peer_urls.first()?.clone();
    Some(DropEtcdLearner { cluster: cluster.id.clone(), member: left.id.clone(), peer_url })
}

/// Where the leader doesn't see etcd, a custodian looks at it.
fn list_members(view: View<'_>, cluster: &Cluster, about: NodeId) -> Option<Planned> {
    let kind = ErrandKind::ListEtcdMembers(about);
    let last = view.state.errands.values().rev().find(|errand| errand.cluster == cluster.id && errand.kind == kind);
    if last.is_some_and(|errand| view.now_ms.saturating_sub(errand.created_ms) < EVIDENCE_PAUSE_MS) {
        return None;
    }
    let custodian = custodian(view, cluster)?;
    let free = view.state.errand_in_the_way(&cluster.id, &kind, &custodian, view.now_ms).is_none();
    free.then(|| Planned::Errand(OpenErrand { cluster: cluster.id.clone(), kind, custodian }))
}

fn grant(cluster: &Cluster, node: &Node) -> Planned {
    Planned::Grant(GrantPermit { cluster: cluster.id.clone(), kind: PermitKind::EtcdJoin, node: node.id.clone() })
}

/// Etcd can't be joined by it now.
fn waits(view: View<'_>, cluster: &Cluster, node: &Node) -> bool {
    view.state.etcd_hindrance(&cluster.id, node).is_some()
}

/// Whoever waited longest, of those that can go on; the lower id of two.
fn next<'a>(view: View<'a>, cluster: &'a Cluster) -> Option<&'a Node> {
    let is_next =
        |node: &&Node| node.locked.is_none() && node.is_proven() && wants(node) && !waits(view, cluster, node);
    let waiting = view.state.nodes_of(&cluster.id).filter(is_next);
    waiting.min_by_key(|node| (node.timeline.last().map_or(0, |entry| entry.at_ms), node.id.clone()))
}

fn wants(node: &Node) -> bool {
    node.current_step().is_some_and(|step| step.verb.permit() == Some(PermitKind::EtcdJoin))
}
