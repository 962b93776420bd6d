//! The fields of kubeadm's configuration types, as data: which exist in which API, their shapes, and which are
//! Muster's own.
//!
//! Source: `apis/kubeadm/{v1beta2,v1beta3,v1beta4}/types.go` and `apis/bootstraptoken/v1/types.go` of kubeadm 1.36
//! (`v1beta2` of 1.26, the last that had it), and the field lists in the `doc.go` of `v1beta4` for later additions.

mod kubelet;

pub(super) use kubelet::KUBELET;

use crate::kubeadm::version::ConfigApi::{self, V1Beta2, V1Beta3, V1Beta4};

/// A field of a document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    /// The first API that has it.
    pub(super) from: ConfigApi,
    /// The last API that has it.
    pub(super) until: ConfigApi,
    /// The first minor version that has it, where it came later than its API; 0 otherwise.
    pub(super) since_minor: u32,
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// Text.
    Text,
    /// `true` or `false`.
    Flag,
    /// Text of Go's form `1h30m0s`.
    Duration,
    /// A list of text that replaces ours.
    Texts,
    /// A list of text that is united with ours.
    Union,
    /// Flag names with `true` or `false`.
    Gates,
    /// Arguments of a program: a list of name and value, or a map before `v1beta4`. The names listed are Muster's own,
    /// each with the reason.
    Args(&'static [(&'static str, &'static str)]),
    /// An object.
    Tree(&'static [Field]),
    /// A list of objects that replaces ours.
    Trees(&'static [Field]),
    /// Anything; whoever reads it checks it.
    Open,
    /// Set by Muster alone, with the reason.
    Owned(&'static str),
}

impl Field {
    const fn new(name: &'static str, shape: Shape) -> Self {
        Self { name, shape, from: V1Beta2, until: V1Beta4, since_minor: 0 }
    }

    const fn from(self, from: ConfigApi) -> Self {
        Self { from, ..self }
    }

    const fn until(self, until: ConfigApi) -> Self {
        Self { until, ..self }
    }

    const fn since_minor(self, since_minor: u32) -> Self {
        Self { since_minor, ..self }
    }
}

const fn f(name: &'static str, shape: Shape) -> Field {
    Field::new(name, shape)
}

use Shape::{Args, Duration, Flag, Gates, Open, Owned, Text, Texts, Tree, Trees, Union};

const API_VERSION: Field = f("apiVersion", Owned("it follows from the cluster's Kubernetes version"));
const KIND: Field = f("kind", Owned("it follows from the section of the cluster file"));
/// A dry run exits 0 without doing anything, which would be taken for a node that has joined.
const DRY_RUN: Field =
    f("dryRun", Owned("Muster would take a dry run for the real thing (use a rehearsal)")).from(V1Beta4);

/// `InitConfiguration`.
pub(super) const INIT: &[Field] = &[
    API_VERSION,
    KIND,
    DRY_RUN,
    f("bootstrapTokens", Owned("Muster makes the tokens (see `muster token`)")),
    f("nodeRegistration", Tree(NODE_REGISTRATION)),
    f("localAPIEndpoint", Owned("it is set from the node's record")),
    f("certificateKey", Owned("Muster makes the certificate key")),
    // Not in v1beta2, where it becomes the flag of the same name.
    f("skipPhases", Union),
    f("patches", Tree(PATCHES)).from(V1Beta3),
    f("timeouts", Tree(TIMEOUTS)).from(V1Beta4),
];

/// `JoinConfiguration`.
pub(super) const JOIN: &[Field] = &[
    API_VERSION,
    KIND,
    DRY_RUN,
    f("nodeRegistration", Tree(NODE_REGISTRATION)),
    f("caCertPath", Owned("it follows from the cluster's certificates folder")),
    f("discovery", Tree(DISCOVERY)),
    f("controlPlane", Owned("it is set for the nodes of control-plane pools")),
    f("skipPhases", Union),
    f("patches", Tree(PATCHES)).from(V1Beta3),
    f("timeouts", Tree(TIMEOUTS)).from(V1Beta4),
];

const DISCOVERY: &[Field] = &[
    f("bootstrapToken", Owned("Muster makes the tokens (discovery is set on the pool)")),
    f("file", Owned("Muster writes the discovery file (discovery is set on the pool)")),
    f("tlsBootstrapToken", Owned("Muster makes the tokens (discovery is set on the pool)")),
    f("timeout", Duration).until(V1Beta3),
];

const NODE_REGISTRATION: &[Field] = &[
    f("name", Owned("it is the node's name in Muster")),
    f("criSocket", Text),
    f("taints", Trees(TAINT)),
    f("kubeletExtraArgs", Args(KUBELET_ARGS_OWNED)),
    f("ignorePreflightErrors", Union),
    f("imagePullPolicy", Text).from(V1Beta3),
    f("imagePullSerial", Flag).from(V1Beta4),
];

const KUBELET_ARGS_OWNED: &[(&str, &str)] = &[
    ("hostname-override", "it is the node's name in Muster"),
    ("provider-id", "it differs from node to node, and is set from the node's record"),
    ("kubeconfig", "kubeadm and Muster rely on its place"),
    ("bootstrap-kubeconfig", "kubeadm and Muster rely on its place"),
];

const TAINT: &[Field] = &[f("key", Text), f("value", Text), f("effect", Text), f("timeAdded", Text)];

const PATCHES: &[Field] = &[f("directory", Text)];

const TIMEOUTS: &[Field] = &[
    f("controlPlaneComponentHealthCheck", Duration),
    f("kubeletHealthCheck", Duration),
    f("kubernetesAPICall", Duration),
    f("etcdAPICall", Duration),
    f("tlsBootstrap", Duration),
    f("discovery", Duration),
    f("upgradeManifests", Duration),
];

/// `ClusterConfiguration`.
pub(super) const CLUSTER: &[Field] = &[
    API_VERSION,
    KIND,
    f("etcd", Tree(ETCD)),
    f("networking", Tree(NETWORKING)),
    f("kubernetesVersion", Owned("it is the cluster's `kubernetes.version`")),
    f("controlPlaneEndpoint", Owned("it is the cluster's `kubernetes.endpoint`")),
    f("apiServer", Tree(API_SERVER)),
    f("controllerManager", Tree(COMPONENT)),
    f("scheduler", Tree(COMPONENT)),
    f("dns", Tree(DNS)),
    f("proxy", Tree(PROXY)).from(V1Beta4),
    f("certificatesDir", Owned("Muster lays the certificates down there")),
    f("imageRepository", Text),
    f("useHyperKubeImage", Flag).until(V1Beta2),
    f("featureGates", Gates),
    f("clusterName", Owned("it is the cluster's name in Muster")),
    f("encryptionAlgorithm", Owned("it is the cluster's `keyAlgorithm`")),
    f("certificateValidityPeriod", Duration).from(V1Beta4),
    f("caCertificateValidityPeriod", Owned("Muster makes the CAs")).from(V1Beta4),
];

const NETWORKING: &[Field] = &[f("serviceSubnet", Text), f("podSubnet", Text), f("dnsDomain", Text)];

const COMPONENT: &[Field] =
    &[f("extraArgs", Args(&[])), f("extraVolumes", Trees(VOLUME)), f("extraEnvs", Trees(ENVIRONMENT)).from(V1Beta4)];

const API_SERVER: &[Field] = &[
    f("extraArgs", Args(&[])),
    f("extraVolumes", Trees(VOLUME)),
    f("extraEnvs", Trees(ENVIRONMENT)).from(V1Beta4),
    f("certSANs", Union),
    f("timeoutForControlPlane", Duration).until(V1Beta3),
];

const VOLUME: &[Field] =
    &[f("name", Text), f("hostPath", Text), f("mountPath", Text), f("readOnly", Flag), f("pathType", Text)];

const ENVIRONMENT: &[Field] = &[f("name", Text), f("value", Text), f("valueFrom", Open)];

const DNS: &[Field] = &[
    f("type", Text).until(V1Beta2),
    f("imageRepository", Text),
    f("imageTag", Text),
    f("disabled", Flag).from(V1Beta4),
];

const PROXY: &[Field] = &[f("disabled", Flag)];

const ETCD: &[Field] = &[f("local", Tree(ETCD_LOCAL)), f("external", Tree(ETCD_EXTERNAL))];

const ETCD_LOCAL: &[Field] = &[
    f("imageRepository", Text),
    f("imageTag", Text),
    f("dataDir", Text),
    f("extraArgs", Args(&[])),
    f("extraEnvs", Trees(ENVIRONMENT)).from(V1Beta4),
    f("serverCertSANs", Union),
    f("peerCertSANs", Union),
];

const ETCD_EXTERNAL: &[Field] = &[
    f("endpoints", Texts),
    f("httpEndpoints", Texts).from(V1Beta4).since_minor(35),
    f("caFile", Text),
    f("certFile", Text),
    f("keyFile", Text),
];

/// Looks a field up by name, whatever the API.
pub(super) fn find(fields: &'static [Field], name: &str) -> Option<&'static Field> {
    fields.iter().find(|field| field.name == name)
}
