//! What the configuration files are made from.

use std::net::IpAddr;
use std::time::Duration;

use muster_trust::Pin;

use super::Extra;
use crate::kubeadm::certificate_key::CertificateKey;
use crate::kubeadm::endpoint::Endpoint;
use crate::kubeadm::group::BootstrapGroup;
use crate::kubeadm::token::BootstrapToken;
use crate::kubeadm::token_secret::Usages;
use crate::kubeadm::version::KubernetesVersion;

/// Where kubeadm keeps certificates unless told otherwise.
pub const DEFAULT_CERTIFICATES_DIR: &str = "/etc/kubernetes/pki";

/// Most bootstrap tokens in one init configuration: kubeadm's throttled client takes about 0.4 s for each.
pub const MAX_INIT_TOKENS: usize = 8;

/// For `kubeadm init` on a cluster's first control plane.
#[derive(Debug, Clone)]
pub struct InitInputs {
    /// The cluster's version; it decides the configuration API.
    pub version: KubernetesVersion,
    /// The cluster's name.
    pub cluster_name: String,
    /// The address that all nodes use, and that later control planes need.
    pub endpoint: Endpoint,
    /// The cluster's networks.
    pub networking: Networking,
    /// The kind of keys; rendered where the API knows the field (`v1beta4`), otherwise kubeadm makes RSA leafs.
    pub key_algorithm: KeyAlgorithm,
    /// An absolute path.
    pub certificates_dir: String,
    /// The machine.
    pub node: NodeInputs,
    /// Where its API server listens.
    pub local_api: LocalApi,
    /// At most `MAX_INIT_TOKENS`. If there is none, kubeadm makes one of its own up, in its default group, for 24 h.
    pub tokens: Vec<InitToken>,
    /// Set when `--upload-certs` is to use this key.
    pub certificate_key: Option<CertificateKey>,
    /// Phases that Muster skips.
    pub skip_phases: Vec<String>,
    /// Time limits.
    pub timeouts: Timeouts,
    /// The cluster file's own fields.
    pub extra: Extra,
}

/// For `kubeadm join`.
#[derive(Debug, Clone)]
pub struct JoinInputs {
    /// The cluster's version; it decides the configuration API.
    pub version: KubernetesVersion,
    /// The machine.
    pub node: NodeInputs,
    /// How it finds the cluster.
    pub discovery: Discovery,
    /// The token it authenticates with, if that is neither the discovery token nor in the discovery file.
    pub tls_bootstrap_token: Option<BootstrapToken>,
    /// `Some` for a control plane.
    pub control_plane: Option<JoinControlPlane>,
    /// The cluster's certificates folder, an absolute path; the CA goes to `ca.crt` in it.
    pub certificates_dir: String,
    /// Phases that Muster skips.
    pub skip_phases: Vec<String>,
    /// Time limits.
    pub timeouts: Timeouts,
    /// The cluster file's own fields.
    pub extra: Extra,
}

/// What a control plane says beyond a worker when it joins.
#[derive(Debug, Clone)]
pub struct JoinControlPlane {
    /// Where its API server listens.
    pub local_api: LocalApi,
    /// The key of `kubeadm-certs`; `None` when the files were laid down already.
    pub certificate_key: Option<CertificateKey>,
}

/// How a joining machine finds its cluster.
#[derive(Debug, Clone)]
pub enum Discovery {
    /// By a kubeconfig: an absolute path on the machine, or an `https://` URL checked against the host's own CAs.
    File {
        /// The path or URL.
        path: String,
    },
    /// By `cluster-info`, signed with a token.
    Token {
        /// A token of usage *signing*; it is the TLS bootstrap token too if none is given.
        token: BootstrapToken,
        /// The API server.
        endpoint: Endpoint,
        /// The CA's pins; any match is enough.
        pins: Vec<Pin>,
        /// Believe whoever answers. Only looked at when there is no pin.
        unsafe_skip: bool,
    },
}

/// The machine that is initialised or joins.
#[derive(Debug, Clone)]
pub struct NodeInputs {
    /// The Node's name, a DNS-1123 subdomain.
    pub name: String,
    /// The container runtime's socket; kubeadm looks for one if `None`.
    pub cri_socket: Option<String>,
    /// The Node's first taints.
    pub taints: Taints,
    /// Flags of this node's kubelet, such as `provider-id` and `node-labels`, without dashes.
    pub kubelet_args: Vec<(String, String)>,
    /// Preflight errors to ignore.
    pub ignore_preflight_errors: Vec<String>,
    /// When images are pulled; not rendered for `v1beta2`, which has no such field.
    pub image_pull_policy: Option<ImagePullPolicy>,
}

/// The taints that a Node registers with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taints {
    /// kubeadm decides: the control-plane taint on control planes, none elsewhere.
    Default,
    /// Exactly these; an empty list means none, also on control planes.
    Exactly(Vec<Taint>),
}

/// A taint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value, if any.
    pub value: Option<String>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// When kubeadm pulls images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImagePullPolicy {
    /// Every time.
    Always,
    /// When missing: kubeadm's default.
    IfNotPresent,
    /// Never; they were put there before.
    Never,
}

impl ImagePullPolicy {
    /// As kubeadm writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// Where a control plane's own API server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalApi {
    /// The address it tells others.
    pub advertise_address: IpAddr,
    /// The port it binds.
    pub bind_port: u16,
}

/// The cluster's networks; kubeadm's defaults apply to what is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networking {
    /// One network, or two with a comma between.
    pub pod_subnet: Option<String>,
    /// One network, or two with a comma between.
    pub service_subnet: Option<String>,
    /// The domain of Services.
    pub dns_domain: Option<String>,
}

/// A bootstrap token that `kubeadm init` creates.
#[derive(Debug, Clone)]
pub struct InitToken {
    /// The token.
    pub token: BootstrapToken,
    /// How long it lives from then on; `Duration::ZERO` means for ever.
    pub ttl: Duration,
    /// What it is good for; *authentication* is needed, since kubeadm adds a group to every token.
    pub usages: Usages,
    /// What it authenticates as; at least one, since kubeadm adds its default group to none.
    pub groups: Vec<BootstrapGroup>,
    /// For people.
    pub description: Option<String>,
}

/// The kind of a cluster's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// kubeadm's default.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits.
    Rsa4096,
    /// ECDSA on P-256.
    EcdsaP256,
    /// ECDSA on P-384, which kubeadm knows from 1.34.
    EcdsaP384,
}

impl KeyAlgorithm {
    /// As kubeadm's `encryptionAlgorithm` names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rsa2048 => "RSA-2048",
            Self::Rsa3072 => "RSA-3072",
            Self::Rsa4096 => "RSA-4096",
            Self::EcdsaP256 => "ECDSA-P256",
            Self::EcdsaP384 => "ECDSA-P384",
        }
    }

    /// The first minor version whose kubeadm takes it for `encryptionAlgorithm`.
    pub(super) fn first_minor(self) -> u32 {
        match self {
            Self::EcdsaP384 => 34,
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 | Self::EcdsaP256 => 31,
        }
    }
}

/// kubeadm's time limits; its own defaults apply to what is `None`. Before `v1beta4` only `discovery` (join) and
/// `control_plane_component_health_check` (init) can be said; the others are then left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// For a control-plane component to become healthy (4 min).
    pub control_plane_component_health_check: Option<Duration>,
    /// For the kubelet to become healthy (4 min).
    pub kubelet_health_check: Option<Duration>,
    /// For one API call with its retries (1 min).
    pub kubernetes_api_call: Option<Duration>,
    /// For one etcd call with its retries (2 min): queueing for the learner's place happens in here.
    pub etcd_api_call: Option<Duration>,
    /// For the kubelet's certificate, its approval included (5 min).
    pub tls_bootstrap: Option<Duration>,
    /// For the cluster to be found (5 min).
    pub discovery: Option<Duration>,
    /// For static Pods to be replaced (5 min).
    pub upgrade_manifests: Option<Duration>,
}
