//! What an operator writes about a cluster, both ways. Fields are named as in the cluster file.

use std::{collections::BTreeMap, net::IpAddr};

use muster_proto::admin::v1::ClusterSpec as Wire;
use muster_state::{
    id::dns1123_subdomain,
    record::{Admission, ClusterSpec, CsrApproval, Link},
};

use super::pool;
use crate::operations::OperationError;

/// The leader speaks to the cluster's API itself.
const LINKED: &str = "linked";
/// A custodian acts for the cluster.
const DETACHED: &str = "detached";
/// Everybody may read `cluster-info`, as kubeadm leaves it.
const OPEN: &str = "open";
/// Nobody without credentials may.
const CLOSED: &str = "closed";
/// Names of the trees that are merged into what is rendered.
const TREES: [&str; 4] = ["init", "cluster", "join", "kubelet"];

/// Parses a spec. What depends on the Kubernetes version, and what depends on other records, is checked after.
pub fn parse(wire: Option<Wire>) -> Result<ClusterSpec, OperationError> {
    let wire = wire.ok_or_else(|| OperationError::invalid("spec", "is needed"))?;
    let admission = pool::admission("spec.admission", &wire.admission, Admission::Approve)?;
    let pools = wire.pools.into_iter().enumerate().map(|(at, pool)| pool::parse(at, pool, admission));
    subnets("spec.kubernetes.podSubnet", &wire.pod_subnet)?;
    subnets("spec.kubernetes.serviceSubnet", &wire.service_subnet)?;
    if !wire.dns_domain.is_empty() {
        dns1123_subdomain(&wire.dns_domain).map_err(|err| OperationError::invalid("spec.kubernetes.dnsDomain", err))?;
    }
    let approval = csr_approval(&wire.csr_approval)?;
    let link = link(&wire.access, approval)?;
    let trees = [wire.kubeadm_init_json, wire.kubeadm_cluster_json, wire.kubeadm_join_json, wire.kubeadm_kubelet_json];
    Ok(ClusterSpec {
        pools: pools.collect::<Result<_, _>>()?,
        kubeadm: kubeadm(trees)?,
        name: wire.name,
        kubernetes_version: wire.kubernetes_version,
        endpoint: wire.endpoint,
        pod_subnet: wire.pod_subnet,
        service_subnet: wire.service_subnet,
        dns_domain: wire.dns_domain,
        key_algorithm: wire.key_algorithm,
        link,
        custodian_secrets: false,
        // What the cluster does by itself is not written, as before there was anything else.
        detached_approval: (link.is_none() && approval != CsrApproval::Auto).then_some(approval),
        cluster_info_closed: match wire.cluster_info.as_str() {
            "" | OPEN => false,
            CLOSED => true,
            other => {
                let problem = format!("{other:?} is neither open nor closed");
                return Err(OperationError::invalid("spec.kubernetes.clusterInfo", problem));
            }
        },
    })
}

/// Detached unless it says otherwise.
fn link(access: &str, approval: CsrApproval) -> Result<Option<Link>, OperationError> {
    match access {
        "" | DETACHED => Ok(None),
        LINKED => Ok(Some(Link { csr_approval: approval })),
        other => {
            Err(OperationError::invalid("spec.kubernetes.access", format!("{other:?} is neither linked nor detached")))
        }
    }
}

/// Muster approves unless it says otherwise.
fn csr_approval(word: &str) -> Result<CsrApproval, OperationError> {
    match word {
        "" | "muster" => Ok(CsrApproval::Muster),
        "strict" => Ok(CsrApproval::Strict),
        "auto" => Ok(CsrApproval::Auto),
        other => {
            let problem = format!("{other:?} is none of muster, strict and auto");
            Err(OperationError::invalid("spec.kubernetes.csrApproval", problem))
        }
    }
}

/// One subnet, or two for dual-stack; empty for kubeadm's default.
fn subnets(field: &str, text: &str) -> Result<(), OperationError> {
    let is_subnet = |subnet: &str| {
        let (address, bits) = subnet.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let bits: u8 = bits.parse().ok()?;
        (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some(())
    };
    if text.is_empty() || (text.split(',').count() <= 2 && text.split(',').all(|subnet| is_subnet(subnet).is_some())) {
        return Ok(());
    }
    Err(OperationError::invalid(field, format!("{text:?} is no subnet; write it like 10.244.0.0/16")))
}

/// The trees by name, only those that say something, in one form: equal trees are equal texts.
fn kubeadm(trees: [String; 4]) -> Result<BTreeMap<String, String>, OperationError> {
    let mut kept = BTreeMap::new();
    for (name, json) in TREES.into_iter().zip(trees).filter(|(_, json)| !json.is_empty()) {
        let field = format!("spec.kubeadm.{name}");
        let tree: serde_json::Value =
            serde_json::from_str(&json).map_err(|err| OperationError::invalid(&field, err))?;
        match tree.as_object() {
            None => return Err(OperationError::invalid(field, "must be a JSON object")),
            Some(fields) if fields.is_empty() => {}
            Some(_) => {
                kept.insert(name.to_owned(), tree.to_string());
            }
        }
    }
    Ok(kept)
}

/// A spec as it is shown. Each pool says its own admission, so the cluster's default is left out.
pub fn render(spec: &ClusterSpec) -> Wire {
    let tree = |name: &str| spec.kubeadm.get(name).cloned().unwrap_or_default();
    let [init, cluster, join, kubelet] = TREES.map(tree);
    Wire {
        name: spec.name.clone(),
        kubernetes_version: spec.kubernetes_version.clone(),
        endpoint: spec.endpoint.clone(),
        pod_subnet: spec.pod_subnet.clone(),
        service_subnet: spec.service_subnet.clone(),
        dns_domain: spec.dns_domain.clone(),
        key_algorithm: spec.key_algorithm.clone(),
        admission: String::new(),
        pools: spec.pools.iter().map(pool::render).collect(),
        kubeadm_init_json: init,
        kubeadm_cluster_json: cluster,
        kubeadm_join_json: join,
        kubeadm_kubelet_json: kubelet,
        access: if spec.link.is_some() { LINKED } else { DETACHED }.into(),
        csr_approval: spec.csr_approval().word().into(),
        cluster_info: if spec.cluster_info_closed { CLOSED } else { OPEN }.into(),
    }
}
