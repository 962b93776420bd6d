//! Tokens and instructions for nodes that wait to join a cluster that is up. All at once: only etcd is serial.

use muster_state::{
    command::Instruct,
    limits,
    record::{Cluster, Node, Role, Verb},
};

use super::{Planned, View};
use crate::kubeadm::version::KubernetesVersion;

/// From this minor on `kubeadm join` has a phase `etcd-join` of its own that is on by default (kubeadm
/// cmd/phases/join, feature gate ControlPlaneKubeletLocalMode).
const SEPARATE_ETCD_MINOR: u32 = 33;

pub(super) fn plan(view: View<'_>, cluster: &Cluster) -> Vec<Planned> {
    let can_be_told = cluster.is_linked_from_outside() || view.state.custodian(&cluster.id).is_some();
    if !cluster.initialised || !can_be_told {
        return Vec::new();
    }
    let waiting = view.state.nodes_of(&cluster.id).filter(|node| node.may_begin() && !node.finds_its_name_taken());
    waiting.filter_map(|node| next(view, cluster, node)).collect()
}

fn next(view: View<'_>, cluster: &Cluster, node: &Node) -> Option<Planned> {
    let Some(token) = view.state.coming_token(node) else {
        // A machine that is away gets its token when it is back: tokens are minted when a node is ready.
        return view
            .attached
            .contains(&node.id)
            .then(|| Planned::Mint { cluster: cluster.id.clone(), node: node.id.clone() });
    };
    if !token.is_live(view.now_ms) {
        return None;
    }
    let role = node.placement()?.role;
    if role == Role::ControlPlane && !certificates_are_there(view, cluster, node) {
        return None;
    }
    let steps = match role {
        Role::Worker => vec![Verb::JoinWorker, Verb::WaitReady],
        Role::ControlPlane if has_etcd_phase(cluster) => {
            vec![Verb::JoinPrepare, Verb::JoinEtcd, Verb::JoinFinish, Verb::WaitReady]
        }
        Role::ControlPlane => vec![Verb::JoinWhole, Verb::WaitReady],
    };
    Some(Planned::Instruct(Instruct { node: node.id.clone(), steps, token: Some(token.id.clone()) }))
}

/// `kubeadm-certs` can still be read when the node gets there, or it needs none.
pub(super) fn certificates_are_there(view: View<'_>, cluster: &Cluster, node: &Node) -> bool {
    let direct =
        node.placement().and_then(|place| cluster.spec.pool(&place.pool)).is_some_and(|pool| pool.certificates_direct);
    direct || view.now_ms.saturating_sub(cluster.certificates_uploaded_ms) < limits::CERTIFICATES_FRESH_MS
}

fn has_etcd_phase(cluster: &Cluster) -> bool {
    KubernetesVersion::parse(&cluster.spec.kubernetes_version)
        .is_ok_and(|version| version.minor() >= SEPARATE_ETCD_MINOR)
}
