//! `cluster.yaml`: what people keep in git, typed. Unknown keys are errors; only the kubeadm trees are free.
//!
//! Faults name file, line and column and show the line. What Kubernetes would refuse late is refused here already; the
//! server checks everything again.

mod check;
mod fault;
mod render;

use std::collections::BTreeMap;

use muster_proto::admin::v1::ClusterSpec;
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use crate::cli::exit::{Exit, Failure};

pub(super) use check::check_subnets;

/// Largest cluster file that is read, in bytes: a thousand named nodes are a tenth of it.
pub(super) const BYTES_MAX: u64 = 4 << 20;

/// Reads a cluster file. `file` is its name in messages.
///
/// # Errors
/// If it is no cluster file, or says something that cannot be.
pub(super) fn read(text: &str, file: &str) -> Result<ClusterSpec, Failure> {
    let source = fault::Source { text, file };
    let options = serde_saphyr::options! { with_snippet: false };
    let document: ClusterFile =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| source.failure(&fault::of_yaml(&error)))?;
    let faults = check::faults_of(&document);
    if !faults.is_empty() {
        let all: Vec<String> = faults.iter().map(|fault| source.failure(fault).message).collect();
        return Err(Failure::new(Exit::Invalid, all.join("\n")));
    }
    render::spec_of(document)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ClusterFile {
    api_version: Spanned<String>,
    kind: Spanned<String>,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Spec {
    kubernetes: Kubernetes,
    key_algorithm: Option<KeyAlgorithm>,
    admission: Option<Admission>,
    #[serde(default)]
    pools: Vec<Pool>,
    #[serde(default)]
    kubeadm: Kubeadm,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Kubernetes {
    version: Spanned<String>,
    endpoint: Spanned<String>,
    pod_subnet: Option<Spanned<String>>,
    service_subnet: Option<Spanned<String>>,
    dns_domain: Option<Spanned<String>>,
    access: Option<Access>,
    csr_approval: Option<CsrApproval>,
    cluster_info: Option<ClusterInfo>,
}

/// Who speaks to the cluster's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Access {
    Detached,
    Linked,
}

/// Who approves the certificate requests of joining nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum CsrApproval {
    Muster,
    Strict,
    Auto,
}

/// Who may read `kube-public/cluster-info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum ClusterInfo {
    Open,
    Closed,
}

/// Trees that are merged into what is rendered.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kubeadm {
    init: Option<Tree>,
    cluster: Option<Tree>,
    join: Option<Tree>,
    kubelet: Option<Tree>,
}

type Tree = serde_json::Map<String, serde_json::Value>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Pool {
    name: Spanned<String>,
    role: Role,
    #[serde(default)]
    count: u32,
    admission: Option<Admission>,
    #[serde(rename = "match")]
    selector: Option<Match>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    taints: Vec<String>,
    #[serde(default)]
    nodes: Vec<Node>,
    certificates: Option<Certificates>,
    discovery: Option<Discovery>,
    #[serde(default, rename = "unsafeSkipCAVerification")]
    unsafe_skip_ca_verification: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    name: Spanned<String>,
    address: Option<Spanned<String>>,
    #[serde(rename = "match")]
    selector: Option<Match>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Match {
    uuid: Option<String>,
    serial: Option<String>,
    mac: Option<Macs>,
    hostname: Option<String>,
    asset: Option<String>,
    product: Option<String>,
    manufacturer: Option<String>,
    board_serial: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// One address, or several that the machine must all have.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Macs {
    One(String),
    Several(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Role {
    ControlPlane,
    Worker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Admission {
    Approve,
    Token,
    Bound,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Certificates {
    Secret,
    Direct,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Discovery {
    File,
    Token,
    TokenUnsafe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
enum KeyAlgorithm {
    #[serde(rename = "RSA-2048")]
    Rsa2048,
    #[serde(rename = "RSA-3072")]
    Rsa3072,
    #[serde(rename = "RSA-4096")]
    Rsa4096,
    #[serde(rename = "ECDSA-P256")]
    EcdsaP256,
}

#[cfg(test)]
mod tests;
