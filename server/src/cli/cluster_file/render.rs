//! The checked file as the message that is sent.

use muster_proto::admin::v1 as wire;
use serde::Serialize;

use super::{ClusterFile, Macs, Match, Node, Pool, Tree};
use crate::cli::exit::{Exit, Failure};

/// The specification that `file` describes.
pub(super) fn spec_of(file: ClusterFile) -> Result<wire::ClusterSpec, Failure> {
    let ClusterFile { metadata, spec, .. } = file;
    let kubernetes = spec.kubernetes;
    let text = |value: Option<serde_saphyr::Spanned<String>>| value.map(|value| value.value).unwrap_or_default();
    Ok(wire::ClusterSpec {
        name: metadata.name.value,
        kubernetes_version: kubernetes.version.value,
        endpoint: kubernetes.endpoint.value,
        pod_subnet: text(kubernetes.pod_subnet),
        service_subnet: text(kubernetes.service_subnet),
        dns_domain: text(kubernetes.dns_domain),
        key_algorithm: word(spec.key_algorithm),
        admission: word(spec.admission),
        pools: spec.pools.into_iter().map(pool_of).collect(),
        kubeadm_init_json: json_of(spec.kubeadm.init)?,
        kubeadm_cluster_json: json_of(spec.kubeadm.cluster)?,
        kubeadm_join_json: json_of(spec.kubeadm.join)?,
        kubeadm_kubelet_json: json_of(spec.kubeadm.kubelet)?,
        access: word(kubernetes.access),
        csr_approval: word(kubernetes.csr_approval),
        cluster_info: word(kubernetes.cluster_info),
    })
}

fn pool_of(pool: Pool) -> wire::Pool {
    wire::Pool {
        name: pool.name.value,
        role: word(Some(pool.role)),
        count: pool.count,
        admission: word(pool.admission),
        r#match: pool.selector.map(selector_of),
        labels: pool.labels,
        taints: pool.taints,
        nodes: pool.nodes.into_iter().map(node_of).collect(),
        certificates: word(pool.certificates),
        discovery: word(pool.discovery),
        unsafe_skip_ca_verification: pool.unsafe_skip_ca_verification,
    }
}

fn node_of(node: Node) -> wire::NamedNode {
    wire::NamedNode {
        name: node.name.value,
        address: node.address.map(|address| address.value).unwrap_or_default(),
        r#match: node.selector.map(selector_of),
    }
}

fn selector_of(selector: Match) -> wire::Selector {
    let macs = match selector.mac {
        None => Vec::new(),
        Some(Macs::One(mac)) => vec![mac],
        Some(Macs::Several(macs)) => macs,
    };
    wire::Selector {
        uuid: selector.uuid.unwrap_or_default(),
        serial: selector.serial.unwrap_or_default(),
        macs: macs.iter().map(|mac| mac.to_ascii_lowercase().replace('-', ":")).collect(),
        hostname: selector.hostname.unwrap_or_default(),
        asset: selector.asset.unwrap_or_default(),
        product: selector.product.unwrap_or_default(),
        manufacturer: selector.manufacturer.unwrap_or_default(),
        board_serial: selector.board_serial.unwrap_or_default(),
        labels: selector.labels,
    }
}

/// An enum as the file and the wire both write it; empty for none.
fn word(value: Option<impl Serialize>) -> String {
    match value.map(serde_json::to_value) {
        Some(Ok(serde_json::Value::String(word))) => word,
        _ => String::new(),
    }
}

fn json_of(tree: Option<Tree>) -> Result<String, Failure> {
    match tree.filter(|tree| !tree.is_empty()) {
        None => Ok(String::new()),
        Some(tree) => serde_json::to_string(&tree)
            .map_err(|error| Failure::new(Exit::Invalid, format!("a kubeadm tree cannot be written as JSON: {error}"))),
    }
}
