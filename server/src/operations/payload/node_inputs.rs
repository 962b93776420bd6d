//! What kubeadm is told about the machine itself.

use std::net::IpAddr;

use anyhow::{Context as _, anyhow};
use muster_state::record::{Pool, Role};

use super::Records;
use crate::kubeadm::{
    config::{LocalApi, NodeInputs, Taint, Taints},
    labels,
};

/// Port of a control plane's own API server.
const API_PORT: u16 = 6443;

pub(super) fn of(records: &Records) -> NodeInputs {
    let pool = records.cluster.spec.pool(&records.place.pool);
    let facts = &records.node.facts;
    let machine = if facts.uuid.is_empty() { records.node.id.as_str() } else { &facts.uuid };
    let mut kubelet_args = vec![("provider-id".to_owned(), format!("muster://{machine}"))];
    let labels = pool.into_iter().flat_map(|pool| &pool.labels).filter(|(key, _)| labels::kubelet_may_set(key));
    let labels: Vec<String> = labels.map(|(key, value)| format!("{key}={value}")).collect();
    if !labels.is_empty() {
        kubelet_args.push(("node-labels".to_owned(), labels.join(",")));
    }
    let socket = records.node.preflight.as_ref().map(|report| report.cri_socket.clone());
    NodeInputs {
        name: records.place.name.to_string(),
        cri_socket: socket.filter(|socket| !socket.is_empty()).map(with_scheme),
        taints: taints(pool),
        kubelet_args,
        ignore_preflight_errors: Vec::new(),
        image_pull_policy: None,
    }
}

/// What kubeadm would do, unless the pool says more.
fn taints(pool: Option<&Pool>) -> Taints {
    let Some(pool) = pool.filter(|pool| !pool.taints.is_empty()) else { return Taints::Default };
    let kubeadms = (pool.role == Role::ControlPlane).then(Taint::of_control_planes);
    // What does not parse was refused when the cluster file was applied.
    let own = pool.taints.iter().filter_map(|text| text.parse().ok());
    Taints::Exactly(kubeadms.into_iter().chain(own).collect())
}

fn with_scheme(socket: String) -> String {
    if socket.contains("://") { socket } else { format!("unix://{socket}") }
}

/// Where its API server listens: the operator's word first, then the machine's first address.
pub(super) fn local_api(records: &Records) -> anyhow::Result<LocalApi> {
    let named = records.cluster.spec.named_node(&records.place.name).map(|(_, node)| node.address.as_str());
    let claimed = records.node.facts.addresses.first().map(String::as_str);
    let address = named.filter(|address| !address.is_empty()).or(claimed);
    let address = address.ok_or_else(|| {
        anyhow!("node {} has no address: give one in the cluster file (pools[].nodes[].address)", records.place.name)
    })?;
    let advertise_address: IpAddr = address.parse().with_context(|| format!("address {address:?}"))?;
    Ok(LocalApi { advertise_address, bind_port: API_PORT })
}
