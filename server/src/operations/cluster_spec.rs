//! Checks a cluster's spec as far as kubeadm and Kubernetes are concerned; the state checks the rest.

use std::net::IpAddr;

use muster_state::record::{Cluster, ClusterSpec};

use super::OperationError;
use crate::{
    kubeadm::{
        config::{Extra, validate_extra},
        endpoint::Endpoint,
        labels, link_rbac,
        version::KubernetesVersion,
    },
    pki::KeyAlgorithm,
};

/// Fills in defaults and checks. Replies with warnings for the operator.
pub fn check(spec: &mut ClusterSpec) -> Result<Vec<String>, OperationError> {
    if spec.key_algorithm.is_empty() {
        spec.key_algorithm = KeyAlgorithm::default().as_str().to_owned();
    }
    spec.key_algorithm.parse::<KeyAlgorithm>().map_err(|err| OperationError::invalid("spec.keyAlgorithm", err))?;
    let (version, warning) = KubernetesVersion::parse_supported(&spec.kubernetes_version)
        .map_err(|err| OperationError::invalid("spec.kubernetes.version", err))?;
    let endpoint: Endpoint =
        spec.endpoint.parse().map_err(|err| OperationError::invalid("spec.kubernetes.endpoint", err))?;
    spec.endpoint = endpoint.to_string();
    let extra = extra_of(spec)?;
    validate_extra(&version, &extra).map_err(|err| OperationError::invalid("spec", err))?;
    for (at, pool) in spec.pools.iter().enumerate() {
        for node in pool.nodes.iter().filter(|node| !node.address.is_empty()) {
            let field = format!("spec.pools[{at}].nodes[{}].address", node.name);
            node.address
                .parse::<IpAddr>()
                .map_err(|_| OperationError::invalid(field, format!("{:?} is no IP address", node.address)))?;
        }
        if let Some(key) = pool.labels.keys().find(|key| spec.link.is_none() && !labels::kubelet_may_set(key)) {
            let problem = format!(
                "a kubelet may not set {key} on its own Node; the leader sets it where the cluster is linked (access: linked)"
            );
            return Err(OperationError::invalid(format!("spec.pools[{at}].labels"), problem));
        }
        if !matches!(pool.discovery.as_str(), "file" | "token" | "token-unsafe") {
            let field = format!("spec.pools[{at}].discovery");
            return Err(OperationError::invalid(
                field,
                "must be file or token (or token with unsafeSkipCAVerification: true)",
            ));
        }
    }
    Ok(warning.map(|warning| warning.to_string()).into_iter().collect())
}

/// Whether a custodian makes the Secrets of a linked cluster: where its API server, when it came up, could not hold the link to its
/// own. One that was brought in brings its rights with its kubeconfig.
pub fn settle_secrets(spec: &mut ClusterSpec, known: Option<&Cluster>) {
    spec.custodian_secrets = match known.filter(|cluster| cluster.initialised) {
        Some(cluster) => cluster.spec.custodian_secrets,
        None => {
            let version = KubernetesVersion::parse(&spec.kubernetes_version);
            spec.link.is_some() && version.is_ok_and(|version| !link_rbac::is_possible(&version))
        }
    };
}

fn extra_of(spec: &ClusterSpec) -> Result<Extra, OperationError> {
    let mut trees = serde_json::Map::new();
    for (name, json) in &spec.kubeadm {
        let field = format!("spec.kubeadm.{name}");
        let tree: serde_json::Value = serde_json::from_str(json).map_err(|err| OperationError::invalid(&field, err))?;
        if !tree.is_object() {
            return Err(OperationError::invalid(field, "must be an object"));
        }
        trees.insert(name.clone(), tree);
    }
    serde_json::from_value(trees.into()).map_err(|err| OperationError::invalid("spec.kubeadm", err))
}

/// What an operator should read about a cluster: expiry, unverified discovery, versions beyond those tried.
pub fn warnings(cluster: &Cluster, now_ms: u64) -> Vec<String> {
    const SOON_MS: u64 = crate::pki::EXPIRES_SOON_MS;
    let mut warnings = Vec::new();
    for ca in &cluster.certificates {
        if ca.not_after_ms <= now_ms {
            warnings.push(format!("{} has expired", ca.name));
        } else if ca.not_after_ms - now_ms < SOON_MS {
            warnings.push(format!("{} expires in {} days", ca.name, (ca.not_after_ms - now_ms) / 86_400_000));
        }
    }
    if cluster.spec.custodian_secrets {
        warnings.push(
            "a custodian makes its Secrets, not the link: an API server before Kubernetes 1.30 can't hold the link to its own".into(),
        );
    }
    for pool in cluster.spec.pools.iter().filter(|pool| pool.discovery == "token-unsafe") {
        warnings.push(format!("pool {}: machines join without verifying the CA (unsafeSkipCAVerification)", pool.name));
    }
    warnings.extend(credentials_warning(cluster, now_ms));
    if !cluster.workers_only.is_empty() {
        warnings.push(format!("only workers can be added: {}", cluster.workers_only));
    } else if !cluster.keys.contains_key("ca.key") {
        warnings.push(
            "the CA's key is not here (external CA): control planes and kubelets must be signed elsewhere".into(),
        );
    }
    if let Ok((_, Some(warning))) = KubernetesVersion::parse_supported(&cluster.spec.kubernetes_version) {
        warnings.push(warning.to_string());
    }
    warnings
}

/// A kubeconfig's certificate is warned of in good time: this long before its end, or where it lives for less than that, always.
const CREDENTIALS_SOON_MS: u64 = 30 * 86_400_000;

fn credentials_warning(cluster: &Cluster, now_ms: u64) -> Option<String> {
    let end_ms = cluster.credentials.as_ref()?.not_after_ms?;
    let fix = format!("bring others with `muster cluster credentials {} --kubeconfig FILE`", cluster.spec.name);
    let left_ms = end_ms.saturating_sub(now_ms);
    match left_ms {
        0 => Some(format!("the kubeconfig's client certificate has expired: {fix}")),
        1..CREDENTIALS_SOON_MS => {
            let hours = left_ms / 3_600_000;
            Some(format!("the kubeconfig's client certificate expires in {} d {} h: {fix}", hours / 24, hours % 24))
        }
        CREDENTIALS_SOON_MS.. => None,
    }
}
