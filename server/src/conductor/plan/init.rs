//! Chooses the first control plane and starts it. One per cluster, ever.

use muster_state::{
    command::{GrantPermit, Instruct},
    record::{Cluster, Node, Origin, PermitKind, Role, Verb},
};

use super::{Planned, View};

pub(super) fn plan(view: View<'_>, cluster: &Cluster) -> Option<Planned> {
    if cluster.initialised || cluster.origin == Origin::Imported {
        return None;
    }
    let permit = cluster.permit(PermitKind::Init);
    let Some(holder) = &permit.holder else {
        let node = candidate(view, cluster)?.id.clone();
        return Some(Planned::Grant(GrantPermit { cluster: cluster.id.clone(), kind: PermitKind::Init, node }));
    };
    let node = view.state.nodes.get(holder).filter(|node| node.may_begin())?;
    if permit.attempt != node.attempt + 1 {
        // An operator let it try again: the same holder, a new attempt.
        let node = node.id.clone();
        return Some(Planned::Grant(GrantPermit { cluster: cluster.id.clone(), kind: PermitKind::Init, node }));
    }
    let steps = vec![Verb::Init, Verb::Custodian, Verb::WaitReady];
    Some(Planned::Instruct(Instruct { node: node.id.clone(), steps, token: None }))
}

/// The node an operator named with `--first`; else the one that owns the endpoint's address, waited for if the cluster
/// file says that there is one; else the lowest id.
fn candidate<'a>(view: View<'a>, cluster: &'a Cluster) -> Option<&'a Node> {
    let ready = || view.state.nodes_of(&cluster.id).filter(|node| is_control_plane(node) && node.may_begin());
    let named =
        |name: &muster_state::NodeName| ready().find(|node| node.placement().is_some_and(|place| place.name == *name));
    if let Some(first) = &cluster.first {
        return named(first);
    }
    let host = cluster.spec.endpoint_host();
    let pools = cluster.spec.pools.iter().filter(|pool| pool.role == Role::ControlPlane);
    if let Some(owner) = pools.flat_map(|pool| &pool.nodes).find(|node| node.address == host) {
        return named(&owner.name);
    }
    let owner = ready().find(|node| node.facts.addresses.iter().any(|address| address == host));
    owner.or_else(|| ready().next())
}

fn is_control_plane(node: &Node) -> bool {
    node.placement().is_some_and(|place| place.role == Role::ControlPlane)
}
