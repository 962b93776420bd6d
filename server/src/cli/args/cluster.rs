//! `muster cluster …` and `muster join-command`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::values;
use crate::kubeadm::link_rbac::Subject;

/// Verbs on clusters.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Make a cluster's PKI, pin and settings before any machine exists
    Create(CreateArgs),
    /// Extend a cluster that Muster did not make, by a kubeconfig; with its PKI also by control planes
    Import(ImportArgs),
    /// Create or change a cluster from a file; prints a line to paste per machine that is known by name
    Apply(ApplyArgs),
    /// Replace the kubeconfig by which a cluster was brought in
    Credentials(CredentialsArgs),
    /// Print what joining nodes need in a cluster that was brought in, for kubectl apply -f -
    Rbac {
        /// Name or id
        name: String,
        /// Also what the kubeconfig's own user needs, and an admission policy that holds it to that: user:NAME, group:NAME or
        /// serviceaccount:NAMESPACE:NAME
        #[arg(long, value_name = "WHO")]
        link: Option<Subject>,
    },
    /// List clusters
    List,
    /// One cluster in full
    Describe {
        /// Name or id
        name: String,
    },
}

/// Settings that a cluster has from its first day.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Name of the cluster: a DNS-1123 label
    pub name: String,
    /// Stable endpoint of the control plane, host:port
    #[arg(long, value_name = "HOST:6443")]
    pub endpoint: String,
    /// Kubernetes version, e.g. v1.36.2
    #[arg(long, value_name = "VERSION")]
    pub kubernetes: String,
    /// RSA-2048, RSA-3072, RSA-4096 or ECDSA-P256 [default: the server's, RSA-2048]
    #[arg(long, value_name = "ALGORITHM")]
    pub key_algorithm: Option<String>,
    /// Addresses of pods, e.g. 10.244.0.0/16
    #[arg(long, value_name = "CIDR")]
    pub pod_subnet: Option<String>,
    /// Addresses of services, e.g. 10.96.0.0/12
    #[arg(long, value_name = "CIDR")]
    pub service_subnet: Option<String>,
    /// DNS domain of the cluster, e.g. cluster.local
    #[arg(long, value_name = "DOMAIN")]
    pub dns_domain: Option<String>,
}

/// What is needed to extend a cluster that exists.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Name of the cluster: a DNS-1123 label
    pub name: String,
    /// Its PKI directory, as on a control plane: /etc/kubernetes/pki
    #[arg(long, value_name = "DIR")]
    pub pki: Option<PathBuf>,
    /// Way to its API, with inline credentials; - for standard input. Only this is needed to add workers
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Stable endpoint of the control plane, host:port [with a kubeconfig: the cluster's own]
    #[arg(long, value_name = "HOST:6443")]
    pub endpoint: Option<String>,
    /// Kubernetes version, e.g. v1.36.2 [with a kubeconfig: the cluster's own]
    #[arg(long, value_name = "VERSION")]
    pub kubernetes: Option<String>,
    /// Who approves certificate requests of joining nodes: muster, strict or auto [with a kubeconfig: muster]
    #[arg(long, value_name = "WHO", requires = "kubeconfig", value_parser = ["muster", "strict", "auto"])]
    pub csr_approval: Option<String>,
    /// Addresses of pods, as the cluster has them
    #[arg(long, value_name = "CIDR")]
    pub pod_subnet: Option<String>,
    /// Addresses of services, as the cluster has them
    #[arg(long, value_name = "CIDR")]
    pub service_subnet: Option<String>,
    /// DNS domain of the cluster
    #[arg(long, value_name = "DOMAIN")]
    pub dns_domain: Option<String>,
}

/// Another kubeconfig.
#[derive(Debug, Args)]
pub struct CredentialsArgs {
    /// Name or id
    pub name: String,
    /// The kubeconfig, with inline credentials; - for standard input
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: PathBuf,
}

/// A cluster file to apply.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// The cluster file; - for standard input
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub file: PathBuf,
    /// Say what would change, change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Replace tokens that were made earlier for named nodes and have not been used
    #[arg(long, conflicts_with = "dry_run")]
    pub new_tokens: bool,
    /// How long the tokens for named nodes live
    #[arg(long, default_value = "24h", value_parser = values::duration, value_name = "DURATION")]
    pub ttl: Duration,
}

/// A kubeadm join line.
#[derive(Debug, Args)]
pub struct JoinCommandArgs {
    /// worker or control-plane
    #[arg(long, default_value = "worker", value_parser = ["worker", "control-plane"])]
    pub role: String,
    /// The one node that the line is for: it joins under that name, and Muster approves its certificate request
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// How the machine finds the cluster: by token in cluster-info, or in a file that the server serves ([discovery] in its
    /// settings), with the token beside it or embedded in the URL
    #[arg(long, default_value = "token", value_parser = ["token", "https", "https-embedded"])]
    pub discovery: String,
    /// How long the line works
    #[arg(long, default_value = "2h", value_parser = values::duration, value_name = "DURATION")]
    pub ttl: Duration,
}
