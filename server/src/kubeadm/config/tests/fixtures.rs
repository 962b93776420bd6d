//! Inputs that say something about every field.

use serde_json::json;
use std::time::Duration;

use super::super::*;
use crate::kubeadm::certificate_key::CertificateKey;
use crate::kubeadm::group::{BootstrapGroup, Role};
use crate::kubeadm::pin::pins_of_pem;
use crate::kubeadm::token::BootstrapToken;
use crate::kubeadm::token_secret::Usages;
use crate::kubeadm::vectors;
use crate::kubeadm::version::{ConfigApi, KubernetesVersion};

pub(super) fn version(text: &str) -> KubernetesVersion {
    KubernetesVersion::parse(text).unwrap()
}

fn key() -> CertificateKey {
    CertificateKey::parse("90223a846236efff2967865d914e9d00f4284f3ca4652a2fbcace0860ec352e0").unwrap()
}

fn node(name: &str) -> NodeInputs {
    NodeInputs {
        name: name.into(),
        cri_socket: Some("unix:///run/containerd/containerd.sock".into()),
        taints: Taints::Default,
        kubelet_args: vec![
            ("provider-id".into(), "muster://prod/7f3a".into()),
            ("node-labels".into(), "topology.kubernetes.io/zone=r12,pool=a".into()),
        ],
        ignore_preflight_errors: vec!["SystemVerification".into()],
        image_pull_policy: Some(ImagePullPolicy::IfNotPresent),
    }
}

fn timeouts() -> Timeouts {
    Timeouts {
        control_plane_component_health_check: Some(Duration::from_secs(360)),
        etcd_api_call: Some(Duration::from_secs(300)),
        tls_bootstrap: Some(Duration::from_secs(600)),
        discovery: Some(Duration::from_secs(120)),
        ..Timeouts::default()
    }
}

/// Fields of a cluster file that exist in every API, arguments in the newest shape.
fn extra(api: ConfigApi) -> Extra {
    let mut extra = Extra {
        init: json!({ "nodeRegistration": { "ignorePreflightErrors": ["Swap"] }, "skipPhases": ["addon/kube-proxy"] }),
        cluster: json!({
            "apiServer": {
                "extraArgs": [{ "name": "audit-log-maxage", "value": "2" }, { "name": "profiling", "value": "false" }],
                "certSANs": ["k8s.example.org", "192.0.2.1"],
                "extraVolumes": [{ "name": "audit", "hostPath": "/var/log/audit", "mountPath": "/var/log/audit", "pathType": "DirectoryOrCreate" }],
            },
            "etcd": { "local": { "dataDir": "/var/lib/etcd", "extraArgs": { "quota-backend-bytes": "8589934592" } } },
            "imageRepository": "registry.example.org/k8s",
        }),
        join: json!({ "nodeRegistration": {
            "kubeletExtraArgs": [{ "name": "node-labels", "value": "pool=b,rack=12" }, { "name": "v", "value": "2" }],
            "taints": [{ "key": "dedicated", "value": "gpu", "effect": "NoSchedule" }],
        } }),
        kubelet: json!({ "failSwapOn": false, "maxPods": 250, "serverTLSBootstrap": true }),
    };
    if api == ConfigApi::V1Beta4 {
        extra.cluster["proxy"] = json!({ "disabled": true });
        extra.join["timeouts"] = json!({ "kubeletHealthCheck": "5m0s" });
    }
    extra
}

pub(super) fn init(version_text: &str) -> InitInputs {
    init_for(version_text, version(version_text).config_api())
}

pub(super) fn init_for(version_text: &str, api: ConfigApi) -> InitInputs {
    InitInputs {
        version: version(version_text),
        cluster_name: "prod".into(),
        endpoint: "k8s.prod:6443".parse().unwrap(),
        networking: Networking {
            pod_subnet: Some("10.244.0.0/16".into()),
            service_subnet: Some("10.96.0.0/12".into()),
            dns_domain: Some("cluster.local".into()),
        },
        key_algorithm: KeyAlgorithm::EcdsaP256,
        certificates_dir: DEFAULT_CERTIFICATES_DIR.into(),
        node: node("cp-1"),
        local_api: LocalApi { advertise_address: "192.0.2.11".parse().unwrap(), bind_port: 6443 },
        tokens: vec![InitToken {
            token: BootstrapToken::parse("abcdef.0123456789abcdef").unwrap(),
            ttl: Duration::from_secs(86_400),
            usages: Usages::BOTH,
            groups: vec![BootstrapGroup::of_muster("prod", Role::Worker).unwrap()],
            description: Some("made with the cluster".into()),
        }],
        certificate_key: Some(key()),
        skip_phases: vec!["show-join-command".into()],
        timeouts: timeouts(),
        extra: extra(api),
    }
}

pub(super) fn join_worker(version_text: &str) -> JoinInputs {
    join_worker_for(version_text, version(version_text).config_api())
}

pub(super) fn join_worker_for(version_text: &str, api: ConfigApi) -> JoinInputs {
    JoinInputs {
        version: version(version_text),
        node: node("worker-17"),
        discovery: Discovery::File { path: "/run/muster/discovery.conf".into() },
        tls_bootstrap_token: Some(BootstrapToken::parse("nofzpx.ntlkkfmwuuyqbmlr").unwrap()),
        control_plane: None,
        certificates_dir: DEFAULT_CERTIFICATES_DIR.into(),
        skip_phases: vec![],
        timeouts: timeouts(),
        extra: extra(api),
    }
}

pub(super) fn join_control_plane(version_text: &str) -> JoinInputs {
    join_control_plane_for(version_text, version(version_text).config_api())
}

pub(super) fn join_control_plane_for(version_text: &str, api: ConfigApi) -> JoinInputs {
    JoinInputs {
        discovery: Discovery::Token {
            token: BootstrapToken::parse("abcdef.0123456789abcdef").unwrap(),
            endpoint: "[2001:db8::1]:6443".parse().unwrap(),
            pins: pins_of_pem(&vectors::bytes("ca/openssl/bundle-root-intermediate.crt")).unwrap(),
            unsafe_skip: false,
        },
        control_plane: Some(JoinControlPlane {
            local_api: LocalApi { advertise_address: "2001:db8::12".parse().unwrap(), bind_port: 6443 },
            certificate_key: Some(key()),
        }),
        node: NodeInputs { taints: Taints::Exactly(vec![]), ..node("cp-2") },
        ..join_worker_for(version_text, api)
    }
}
