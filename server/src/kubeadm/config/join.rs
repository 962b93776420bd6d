//! The file of `kubeadm join`: `JoinConfiguration`. And what it shares with `init`.

use serde_json::{Map, Value, json};

use super::document::{Document, go_duration, set, settle_phases, write};
use super::extra::{Arg, check};
use super::inputs::{Discovery, JoinControlPlane, JoinInputs, LocalApi, NodeInputs, Taint, Taints, Timeouts};
use super::merge::write_args;
use super::{ConfigError, Rendered, schema};
use crate::kubeadm::endpoint::is_dns_subdomain;
use crate::kubeadm::version::ConfigApi;
use crate::seal::SecretText;

/// Renders the configuration of a machine that joins.
pub fn render_join(inputs: &JoinInputs) -> Result<Rendered, ConfigError> {
    render_for(inputs.version.config_api(), inputs)
}

/// As `render_join`, for a given API.
pub(super) fn render_for(api: ConfigApi, inputs: &JoinInputs) -> Result<Rendered, ConfigError> {
    check(api, &inputs.version, &inputs.extra)?;
    require_absolute("certificatesDir", &inputs.certificates_dir)?;
    let mut join = Document::new("join", api.api_version(), "JoinConfiguration", schema::JOIN);
    join.set("caCertPath", Value::from(format!("{}/ca.crt", inputs.certificates_dir)));
    join.set("discovery", discovery(api, inputs)?);
    join.set("nodeRegistration", node_registration(api, &inputs.node)?);
    join.set("controlPlane", inputs.control_plane.as_ref().map(control_plane));
    join.set("skipPhases", json!(inputs.skip_phases));
    if api >= ConfigApi::V1Beta4 {
        join.set("timeouts", timeouts(&inputs.timeouts));
    }
    let mut tree = join.finish(&inputs.extra.join, api)?;
    let skip_phases = settle_phases(&mut tree, api);
    write(vec![tree], skip_phases, &secrets(inputs))
}

fn discovery(api: ConfigApi, inputs: &JoinInputs) -> Result<Value, ConfigError> {
    let mut tree = Map::new();
    match &inputs.discovery {
        Discovery::File { path } => {
            if !path.starts_with("https://") {
                require_absolute("discovery.file.kubeConfigPath", path)?;
            }
            set(&mut tree, "file", json!({ "kubeConfigPath": path }));
        }
        Discovery::Token { token, endpoint, pins, unsafe_skip } => {
            let mut by_token = Map::new();
            set(&mut by_token, "token", Value::from(token.expose().expose()));
            set(&mut by_token, "apiServerEndpoint", Value::from(endpoint.to_string()));
            match pins.is_empty() {
                false => {
                    let pins: Vec<String> = pins.iter().map(ToString::to_string).collect();
                    set(&mut by_token, "caCertHashes", json!(pins));
                }
                true if *unsafe_skip => set(&mut by_token, "unsafeSkipCAVerification", Value::from(true)),
                true => return Err(ConfigError::Unpinned),
            }
            set(&mut tree, "bootstrapToken", Value::from(by_token));
        }
    }
    let token = inputs.tls_bootstrap_token.as_ref();
    set(&mut tree, "tlsBootstrapToken", token.map(|token| token.expose().expose().into()));
    if api < ConfigApi::V1Beta4 {
        set(&mut tree, "timeout", inputs.timeouts.discovery.map(|limit| go_duration(limit).into()));
    }
    Ok(tree.into())
}

fn control_plane(control_plane: &JoinControlPlane) -> Value {
    let mut tree = Map::new();
    set(&mut tree, "localAPIEndpoint", local_api(&control_plane.local_api));
    let key = control_plane.certificate_key.as_ref();
    set(&mut tree, "certificateKey", key.map(|key| key.expose().expose().into()));
    tree.into()
}

fn secrets(inputs: &JoinInputs) -> Vec<SecretText> {
    let discovery = match &inputs.discovery {
        Discovery::Token { token, .. } => Some(token),
        Discovery::File { .. } => None,
    };
    let tokens = discovery.into_iter().chain(&inputs.tls_bootstrap_token);
    let key = inputs.control_plane.as_ref().and_then(|control_plane| control_plane.certificate_key.as_ref());
    tokens.map(|token| token.expose()).chain(key.map(|key| key.expose())).collect()
}

/// `nodeRegistration` of either file.
pub(super) fn node_registration(api: ConfigApi, node: &NodeInputs) -> Result<Value, ConfigError> {
    if !is_dns_subdomain(&node.name) {
        return Err(ConfigError::NodeName(node.name.clone()));
    }
    let mut tree = Map::new();
    set(&mut tree, "name", Value::from(node.name.as_str()));
    set(&mut tree, "criSocket", node.cri_socket.clone().map(Value::from));
    // An absent list lets kubeadm taint control planes; an empty one does not.
    if let Taints::Exactly(taints) = &node.taints {
        set(&mut tree, "taints", Value::Array(taints.iter().map(taint).collect()));
    }
    if !node.kubelet_args.is_empty() {
        let args = node.kubelet_args.iter().cloned().map(|(name, value)| Arg { name, value });
        set(&mut tree, "kubeletExtraArgs", write_args(args));
    }
    if !node.ignore_preflight_errors.is_empty() {
        set(&mut tree, "ignorePreflightErrors", json!(node.ignore_preflight_errors));
    }
    if api > ConfigApi::V1Beta2 {
        set(&mut tree, "imagePullPolicy", node.image_pull_policy.map(|policy| policy.name().into()));
    }
    Ok(tree.into())
}

fn taint(taint: &Taint) -> Value {
    let mut tree = Map::new();
    set(&mut tree, "key", Value::from(taint.key.as_str()));
    set(&mut tree, "value", taint.value.clone().map(Value::from));
    set(&mut tree, "effect", Value::from(taint.effect.as_str()));
    tree.into()
}

/// An `APIEndpoint` of either file.
pub(super) fn local_api(local_api: &LocalApi) -> Value {
    json!({
        "advertiseAddress": local_api.advertise_address.to_string(),
        "bindPort": local_api.bind_port,
    })
}

/// `timeouts` of `v1beta4`, if there is one to set.
pub(super) fn timeouts(timeouts: &Timeouts) -> Option<Value> {
    let Timeouts {
        control_plane_component_health_check,
        kubelet_health_check,
        kubernetes_api_call,
        etcd_api_call,
        tls_bootstrap,
        discovery,
        upgrade_manifests,
    } = *timeouts;
    let mut tree = Map::new();
    for (name, limit) in [
        ("controlPlaneComponentHealthCheck", control_plane_component_health_check),
        ("kubeletHealthCheck", kubelet_health_check),
        ("kubernetesAPICall", kubernetes_api_call),
        ("etcdAPICall", etcd_api_call),
        ("tlsBootstrap", tls_bootstrap),
        ("discovery", discovery),
        ("upgradeManifests", upgrade_manifests),
    ] {
        set(&mut tree, name, limit.map(|limit| go_duration(limit).into()));
    }
    (!tree.is_empty()).then(|| tree.into())
}

/// kubeadm runs wherever it is started, so no path may depend on that.
pub(super) fn require_absolute(field: &'static str, path: &str) -> Result<(), ConfigError> {
    match path.starts_with('/') {
        true => Ok(()),
        false => Err(ConfigError::RelativePath { field, value: path.to_owned() }),
    }
}
