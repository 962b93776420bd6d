//! What is never decided about etcd's members, whatever happens.

use muster_state::{
    State,
    etcd::{check_removal, is_peer_url_of},
    record::{Cluster, EtcdRemoval, PermitKind},
};

/// Looks at every decision between the state before a command and the state after.
#[track_caller]
pub(super) fn check_step(before: &State, after: &State) {
    for (id, cluster) in &after.clusters {
        let Some(was) = before.clusters.get(id) else { continue };
        let view = cluster.etcd.clone().unwrap_or_default();
        assert!(view.members.windows(2).all(|pair| pair[0].member.id <= pair[1].member.id), "members in disorder");
        for removal in &view.removals {
            let known = was.etcd.as_ref().is_some_and(|view| view.removal(&removal.member).is_some());
            assert!(known || is_allowed(was, removal), "{removal:?} was decided of {:?}", was.etcd);
        }
        check_grant(after, was, cluster);
    }
}

/// By the state it was decided in: an operator may do what etcd survives, Muster only clears up after a join.
fn is_allowed(was: &Cluster, removal: &EtcdRemoval) -> bool {
    let Some(view) = was.etcd.as_ref().filter(|view| view.problem.is_none()) else { return false };
    let Some(watched) = view.member(&removal.member) else { return false };
    if removal.by_operator {
        return check_removal(&view.members, &removal.member).is_ok();
    }
    let permit = was.permit(PermitKind::EtcdJoin);
    let own = |url: &String| permit.addresses.iter().any(|address| is_peer_url_of(url, address));
    let over = permit.holder.is_some() && permit.evidence_wanted && permit.abandoned;
    over && watched.member.learner && watched.member.name.is_empty() && watched.member.peer_urls.iter().any(own)
}

/// Nobody joins etcd while somebody is taken out of it, or while its own old member is listed.
fn check_grant(after: &State, was: &Cluster, cluster: &Cluster) {
    let (old, new) = (was.permit(PermitKind::EtcdJoin), cluster.permit(PermitKind::EtcdJoin));
    let Some(holder) = new.holder.as_ref().filter(|_| new.grants > old.grants) else { return };
    assert!(cluster.etcd.as_ref().is_none_or(|view| view.removals.is_empty()), "{holder} joins while one is taken out");
    let former = after.nodes.get(holder).and_then(|node| after.former_member(node));
    assert_eq!(former, None, "{holder} joins in the place of its old member");
}
