//! The file of `kubeadm init`: `InitConfiguration`, `ClusterConfiguration` and, if asked for, `KubeletConfiguration`.

use serde_json::{Map, Value, json};

use super::document::{Document, go_duration, set, settle_phases, write};
use super::extra::check;
use super::inputs::{InitInputs, InitToken, MAX_INIT_TOKENS, Networking};
use super::join::{local_api, node_registration, require_absolute, timeouts};
use super::{ConfigError, Rendered, schema};
use crate::kubeadm::endpoint::is_dns_subdomain;
use crate::kubeadm::group::BootstrapGroup;
use crate::kubeadm::version::ConfigApi;

/// Renders the configuration of a cluster's first control plane.
pub fn render_init(inputs: &InitInputs) -> Result<Rendered, ConfigError> {
    render_for(inputs.version.config_api(), inputs)
}

/// As `render_init`, for a given API: a kubeadm reads earlier APIs too, and one program can so check two of them.
pub(super) fn render_for(api: ConfigApi, inputs: &InitInputs) -> Result<Rendered, ConfigError> {
    check(api, &inputs.version, &inputs.extra)?;
    require_absolute("certificatesDir", &inputs.certificates_dir)?;
    let mut init = init_document(api, inputs)?.finish(&inputs.extra.init, api)?;
    let skip_phases = settle_phases(&mut init, api);
    let mut documents = vec![init, cluster_document(api, inputs)?.finish(&inputs.extra.cluster, api)?];
    if inputs.extra.kubelet.as_object().is_some_and(|fields| !fields.is_empty()) {
        let kubelet =
            Document::new("kubelet", "kubelet.config.k8s.io/v1beta1", "KubeletConfiguration", schema::KUBELET);
        documents.push(kubelet.finish(&inputs.extra.kubelet, api)?);
    }
    let tokens = inputs.tokens.iter().map(|token| token.token.expose());
    let keys = inputs.certificate_key.iter().map(|key| key.expose());
    write(documents, skip_phases, &tokens.chain(keys).collect::<Vec<_>>())
}

fn init_document(api: ConfigApi, inputs: &InitInputs) -> Result<Document, ConfigError> {
    let found = inputs.tokens.len();
    if found > MAX_INIT_TOKENS {
        return Err(ConfigError::TooManyTokens { found });
    }
    let mut init = Document::new("init", api.api_version(), "InitConfiguration", schema::INIT);
    if !inputs.tokens.is_empty() {
        let tokens: Vec<Value> = inputs.tokens.iter().map(bootstrap_token).collect::<Result<_, _>>()?;
        init.set("bootstrapTokens", Value::from(tokens));
    }
    init.set("nodeRegistration", node_registration(api, &inputs.node)?);
    init.set("localAPIEndpoint", local_api(&inputs.local_api));
    init.set("certificateKey", inputs.certificate_key.as_ref().map(|key| key.expose().expose().into()));
    init.set("skipPhases", json!(inputs.skip_phases));
    if api >= ConfigApi::V1Beta4 {
        init.set("timeouts", timeouts(&inputs.timeouts));
    }
    Ok(init)
}

fn bootstrap_token(token: &InitToken) -> Result<Value, ConfigError> {
    if token.groups.is_empty() || !token.usages.authentication {
        let id = token.token.id().to_owned();
        return Err(ConfigError::TokenRights { id });
    }
    let groups: Vec<&str> = token.groups.iter().map(BootstrapGroup::as_str).collect();
    let mut tree = Map::new();
    set(&mut tree, "token", Value::from(token.token.expose().expose()));
    set(&mut tree, "ttl", Value::from(go_duration(token.ttl)));
    set(&mut tree, "usages", json!(token.usages.names()));
    set(&mut tree, "groups", json!(groups));
    set(&mut tree, "description", token.description.clone().map(Value::from));
    Ok(tree.into())
}

fn cluster_document(api: ConfigApi, inputs: &InitInputs) -> Result<Document, ConfigError> {
    let mut cluster = Document::new("cluster", api.api_version(), "ClusterConfiguration", schema::CLUSTER);
    cluster.set("kubernetesVersion", Value::from(inputs.version.to_string()));
    cluster.set("clusterName", Value::from(inputs.cluster_name.as_str()));
    cluster.set("controlPlaneEndpoint", Value::from(inputs.endpoint.to_string()));
    cluster.set("certificatesDir", Value::from(inputs.certificates_dir.as_str()));
    cluster.set("networking", networking(&inputs.networking)?);
    if api >= ConfigApi::V1Beta4 {
        cluster.set("encryptionAlgorithm", Value::from(key_algorithm(inputs)?));
    } else if let Some(limit) = inputs.timeouts.control_plane_component_health_check {
        cluster.set("apiServer", json!({ "timeoutForControlPlane": go_duration(limit) }));
    }
    Ok(cluster)
}

fn key_algorithm(inputs: &InitInputs) -> Result<&'static str, ConfigError> {
    let algorithm = inputs.key_algorithm;
    match inputs.version.minor() >= algorithm.first_minor() {
        true => Ok(algorithm.name()),
        false => Err(ConfigError::KeyAlgorithm { version: inputs.version.clone(), algorithm: algorithm.name() }),
    }
}

fn networking(networking: &Networking) -> Result<Option<Value>, ConfigError> {
    let mut tree = Map::new();
    for (field, value) in [("podSubnet", &networking.pod_subnet), ("serviceSubnet", &networking.service_subnet)] {
        let Some(value) = value else { continue };
        if !is_network_list(value) {
            return Err(ConfigError::Subnet { field, value: value.clone() });
        }
        set(&mut tree, field, Value::from(value.as_str()));
    }
    if let Some(domain) = &networking.dns_domain {
        if !is_dns_subdomain(domain) {
            return Err(ConfigError::DnsDomain(domain.clone()));
        }
        set(&mut tree, "dnsDomain", Value::from(domain.as_str()));
    }
    Ok((!tree.is_empty()).then(|| tree.into()))
}

/// One network, or one of each family.
fn is_network_list(text: &str) -> bool {
    let networks: Option<Vec<bool>> = text.split(',').map(is_ipv6_network).collect();
    match networks.as_deref() {
        Some([_]) => true,
        Some([one, two]) => one != two,
        _ => false,
    }
}

/// Whether `ADDRESS/BITS` is of the IPv6 family; `None` if it is no network.
fn is_ipv6_network(text: &str) -> Option<bool> {
    let (address, bits) = text.split_once('/')?;
    let address: std::net::IpAddr = address.parse().ok()?;
    let bits: u8 = bits.parse().ok()?;
    let most = if address.is_ipv6() { 128 } else { 32 };
    (bits <= most).then_some(address.is_ipv6())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_one_or_one_of_each_family() {
        for text in ["10.244.0.0/16", "fd00::/48", "10.244.0.0/16,fd00::/48"] {
            assert!(is_network_list(text), "{text}");
        }
        for text in ["", "10.244.0.0", "10.244.0.0/33", "10.0.0.0/8,10.1.0.0/16", "10.0.0.0/8, fd00::/48", "a/8"] {
            assert!(!is_network_list(text), "{text}");
        }
    }
}
