//! Kubernetes clusters, their pools and permits.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{Credentials, CsrApproval, Custody, EtcdView, Link, LinkStatus, RequestsTold, SealedSecret};
use crate::{ClusterId, NodeId, NodeName, TokenId, facts::Selector};

/// What a node is in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Runs the API server and, stacked, an etcd member. Receives CA keys.
    ControlPlane,
    /// Runs workloads.
    Worker,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ControlPlane => "control-plane",
            Self::Worker => "worker",
        })
    }
}

/// How a machine gets into a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Admission {
    /// An operator approves each; a token only gets it into the queue.
    Approve,
    /// A token of the pool admits a worker.
    Token,
    /// A single-use token made for one named node admits it.
    Bound,
}

impl fmt::Display for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Approve => "approve",
            Self::Token => "token",
            Self::Bound => "bound",
        })
    }
}

/// Where a cluster's PKI comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// Muster made it.
    Created,
    /// It was brought in; the cluster existed before.
    Imported,
}

/// A node known by name beforehand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedNode {
    /// Its Kubernetes node name.
    pub name: NodeName,
    /// The address it advertises; empty: the machine's own choice.
    pub address: String,
    /// Which machine it must be, if that is known.
    pub selector: Selector,
}

/// Nodes of one role with common settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// DNS-1123 label, unique in its cluster.
    pub name: String,
    /// What its nodes are.
    pub role: Role,
    /// How many are meant to be; shown, not enforced.
    pub count: u32,
    /// How machines get in.
    pub admission: Admission,
    /// Which machines it is for.
    pub selector: Selector,
    /// Labels of its Nodes. The kubelet sets those that it may; the leader sets the others, through its link.
    pub labels: BTreeMap<String, String>,
    /// Taints that its Nodes register with, `key=value:Effect`; on control planes besides kubeadm's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<String>,
    /// Nodes known by name.
    pub nodes: Vec<NamedNode>,
    /// Control planes get the PKI files over their stream instead of through `kubeadm-certs`.
    pub certificates_direct: bool,
    /// How its nodes discover the cluster: `file`, `token`, `token-unsafe`.
    pub discovery: String,
}

/// What an operator wrote about a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSpec {
    /// DNS-1123 label, unique in the fleet.
    pub name: String,
    /// e.g. `v1.36.2`.
    pub kubernetes_version: String,
    /// host:port.
    pub endpoint: String,
    /// Empty: kubeadm's default.
    pub pod_subnet: String,
    /// Empty: kubeadm's default.
    pub service_subnet: String,
    /// Empty: kubeadm's default.
    pub dns_domain: String,
    /// RSA-2048, RSA-3072, RSA-4096, ECDSA-P256.
    pub key_algorithm: String,
    /// In the order of the cluster file.
    pub pools: Vec<Pool>,
    /// JSON objects to merge into what is rendered: `init`, `cluster`, `join`, `kubelet`. Only non-empty ones.
    pub kubeadm: BTreeMap<String, String>,
    /// The leader speaks to the cluster's API itself; absent: it is detached, a custodian acts for it. Nothing is written for
    /// a detached cluster, as before there were others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
    /// Of a linked cluster whose API server knows no admission policies, before Kubernetes 1.30: a custodian makes and deletes its
    /// Secrets, since nothing would hold the link to its own.
    #[serde(default, skip_serializing_if = "is_false")]
    pub custodian_secrets: bool,
    /// Who approves certificate requests of a detached cluster; absent: the cluster itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detached_approval: Option<CsrApproval>,
    /// Nobody without credentials may read `kube-public/cluster-info`: kubeadm's binding for it is taken away. Discovery by
    /// token can't work then.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cluster_info_closed: bool,
}

impl ClusterSpec {
    /// Its bootstrap tokens and `kubeadm-certs` are made and deleted by a custodian, not through a link.
    pub fn secrets_by_custodian(&self) -> bool {
        self.link.is_none() || self.custodian_secrets
    }

    /// Who approves the certificate requests of joining nodes: through the link, or through a custodian.
    pub fn csr_approval(&self) -> CsrApproval {
        match self.link {
            Some(link) => link.csr_approval,
            None => self.detached_approval.unwrap_or(CsrApproval::Auto),
        }
    }

    /// The pool of that name.
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name == name)
    }

    /// The named node and its pool.
    pub fn named_node(&self, name: &NodeName) -> Option<(&Pool, &NamedNode)> {
        self.pools.iter().find_map(|pool| Some((pool, pool.nodes.iter().find(|node| node.name == *name)?)))
    }

    /// Host part of the endpoint, without brackets of an IPv6 address.
    pub fn endpoint_host(&self) -> &str {
        let host = self.endpoint.rsplit_once(':').map_or(self.endpoint.as_str(), |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

/// What is serial in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PermitKind {
    /// `kubeadm init`.
    Init,
    /// Joining etcd.
    EtcdJoin,
}

impl fmt::Display for PermitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Init => "init",
            Self::EtcdJoin => "etcd-join",
        })
    }
}

/// A replicated lease on a serial step. It has no expiry: silence never passes it on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permit {
    /// Who holds it.
    pub holder: Option<NodeId>,
    /// Attempt of the holder for which it was granted.
    pub attempt: u32,
    /// When it was granted.
    pub since_ms: u64,
    /// How often it was granted.
    pub grants: u64,
    /// The holder failed and the machine is clean; evidence from etcd is still wanted before it moves on.
    pub evidence_wanted: bool,
    /// The last event when that began: a look at etcd counts if whoever looked knew of it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub evidence_after: u64,
    /// The holder's machine was reset since, or its node was removed: what it left unstarted in etcd may be taken out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub abandoned: bool,
    /// Where the holder's etcd would listen, as it was when the permit was granted: its node may be gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_false(word: &bool) -> bool {
    !word
}

/// A CA certificate and what it is called, for pins and expiry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaCertificate {
    /// kubeadm's file name, e.g. `ca.crt`.
    pub name: String,
    /// PEM as it will lie on the machines.
    pub pem: String,
    /// `sha256:…` of each certificate in it.
    pub pins: Vec<String>,
    /// End of the first certificate's validity, milliseconds since the Unix epoch.
    pub not_after_ms: u64,
}

/// A Kubernetes cluster to be formed or extended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its id; the cluster uid of associated data.
    pub id: ClusterId,
    /// What the operator wrote.
    pub spec: ClusterSpec,
    /// Grows with every change of the spec.
    pub revision: u64,
    /// Made here or brought in.
    pub origin: Origin,
    /// When the record was made.
    pub created_ms: u64,
    /// Public certificates: `ca.crt`, `front-proxy-ca.crt`, `etcd/ca.crt`.
    pub certificates: Vec<CaCertificate>,
    /// Public half of the service-account key, PEM.
    pub service_account_public: String,
    /// Private keys by kubeadm's file name, sealed; without `ca.key` the CA is external.
    pub keys: BTreeMap<String, SealedSecret>,
    /// The certificate key (32 bytes) of the present join window, sealed.
    pub certificate_key: SealedSecret,
    /// When `kubeadm-certs` was last uploaded under that key; 0: never, or it is to be gone.
    pub certificates_uploaded_ms: u64,
    /// The join window has ended, and `kubeadm-certs` may still be in the cluster: the leader deletes it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub certificates_ending: bool,
    /// Until then the join window is open for a control plane without an agent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub certificates_wanted_until_ms: u64,
    /// The token made with the cluster, which `kubeadm init` creates.
    pub first_token: Option<TokenId>,
    /// Serial steps.
    pub permits: BTreeMap<PermitKind, Permit>,
    /// `kubeadm init` has succeeded, or the cluster existed before.
    pub initialised: bool,
    /// Node to be the first control plane, by an operator's word.
    pub first: Option<NodeName>,
    /// How the link to its API was last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkStatus>,
    /// The members of its etcd, where the leader can ask for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<EtcdView>,
    /// Its certificate requests, where a custodian looks after them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custody: Option<Custody>,
    /// Events of late about its certificate requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_told: Option<RequestsTold>,
    /// How the leader gets at the API of a cluster that was brought in with a kubeconfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// Why no control plane can be added, in a sentence; empty: they can.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub workers_only: String,
}

impl Cluster {
    /// The leader can speak to its API before any machine of Muster's is in it.
    pub fn is_linked_from_outside(&self) -> bool {
        self.spec.link.is_some() && self.credentials.is_some()
    }

    /// The permit of that kind.
    pub fn permit(&self, kind: PermitKind) -> Permit {
        self.permits.get(&kind).cloned().unwrap_or_default()
    }

    /// Name of a secret's object in associated data.
    pub fn secret_object(&self, name: &str) -> String {
        format!("{}/{name}", self.id)
    }
}
