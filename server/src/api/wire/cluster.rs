//! Clusters as operators write and see them.

pub mod pool;
pub mod spec;

use muster_proto::admin::v1::{CertificateExpiry, Cluster as Wire, ClusterCredentials};
use muster_state::{
    Phase, State,
    record::{Cluster, ClusterSpec, Credentials, Origin, Role},
};

use super::time::timestamp;
use crate::{operations::cluster_spec, pki::file::CA_CRT};

/// How a cluster without a link to its API is served: a custodian acts for it.
const DETACHED: &str = "Detached";
/// How one with a link is served: the leader speaks to its API itself.
const LINKED: &str = "Linked";

/// A cluster as it is shown: never a key, sealed or not.
pub fn render(state: &State, cluster: &Cluster, now_ms: u64) -> Wire {
    let ca = cluster.certificates.iter().find(|certificate| certificate.name == CA_CRT);
    let expiry = cluster.certificates.iter().map(|certificate| CertificateExpiry {
        name: certificate.name.clone(),
        not_after: timestamp(certificate.not_after_ms),
    });
    Wire {
        id: cluster.id.to_string(),
        spec: Some(spec::render(&cluster.spec)),
        revision: cluster.revision,
        origin: origin(cluster.origin).into(),
        ca_pins: ca.map(|ca| ca.pins.clone()).unwrap_or_default(),
        ca_certificate_pem: ca.map(|ca| ca.pem.clone()).unwrap_or_default(),
        certificates: expiry.collect(),
        created: timestamp(cluster.created_ms),
        mode: if cluster.spec.link.is_some() { LINKED } else { DETACHED }.into(),
        custodian: state.custodian(&cluster.id).map(|node| node.id.to_string()).unwrap_or_default(),
        initialised: cluster.initialised,
        control_planes_ready: ready(state, cluster, Role::ControlPlane),
        control_planes_wanted: wanted(&cluster.spec, Role::ControlPlane),
        workers_ready: ready(state, cluster, Role::Worker),
        workers_wanted: wanted(&cluster.spec, Role::Worker),
        warnings: cluster_spec::warnings(cluster, now_ms),
        link: cluster.link.as_ref().map(|link| format!("{:?}", link.condition)).unwrap_or_default(),
        link_message: cluster.link.as_ref().map(|link| link.message.clone()).unwrap_or_default(),
        cluster_info: match cluster.link.as_ref().and_then(|link| link.cluster_info_public) {
            Some(true) => "public".into(),
            Some(false) => "closed".into(),
            None => String::new(),
        },
        etcd: cluster.etcd.as_ref().map(super::etcd::render),
        link_since: cluster.link.as_ref().and_then(|link| timestamp(link.since_ms)),
        credentials: cluster.credentials.as_ref().map(credentials),
        workers_only: cluster.workers_only.clone(),
    }
}

/// What they are, and until when: never what they hold.
fn credentials(given: &Credentials) -> ClusterCredentials {
    let not_after = given.not_after_ms.and_then(timestamp);
    ClusterCredentials { server: given.server.clone(), user: given.user.clone(), not_after }
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Created => "created",
        Origin::Imported => "imported",
    }
}

fn ready(state: &State, cluster: &Cluster, role: Role) -> u32 {
    let of_role = state.nodes_of(&cluster.id).filter(|node| node.placement().is_some_and(|place| place.role == role));
    count(of_role.filter(|node| node.phase == Phase::Ready).count())
}

/// How many are meant to be: of each pool the count, or the nodes known by name if they are more.
fn wanted(spec: &ClusterSpec, role: Role) -> u32 {
    let pools = spec.pools.iter().filter(|pool| pool.role == role);
    pools.map(|pool| pool.count.max(count(pool.nodes.len()))).fold(0, u32::saturating_add)
}

fn count(many: usize) -> u32 {
    u32::try_from(many).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
