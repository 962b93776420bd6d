//! What the leader shows to a linked cluster's API server. The authority's key is opened for this and wiped after.

use anyhow::Context as _;
use muster_state::record::Cluster;
use muster_trust::TlsIdentity;

use super::{Unsealed, vault::Secret};
use crate::{
    clock::now_ms,
    kubeadm::link_rbac::GROUP,
    pki::{LinkTerms, file, issue_for_link},
};

/// An identity for an hour, in memory only; `None` if the authority's key is not here.
///
/// # Errors
/// If this server has no keys, or what is stored of the cluster's authority does not fit together.
pub fn issue(server: &Unsealed, cluster: &Cluster) -> anyhow::Result<Option<TlsIdentity>> {
    let Some(sealed) = cluster.keys.get(file::CA_KEY) else { return Ok(None) };
    let authority = authority(cluster).context("the cluster has no ca.crt")?;
    let key = Secret::ClusterKey(&cluster.id, file::CA_KEY).open(&server.keys()?.sealer, sealed)?;
    let user = format!("muster:server:{}", server.id);
    let terms = LinkTerms { user: &user, group: GROUP };
    Ok(Some(issue_for_link(authority, &key, terms, now_ms())?))
}

/// The authorities that the API server's certificate may come from, PEM.
#[must_use]
pub fn authority(cluster: &Cluster) -> Option<&str> {
    cluster.certificates.iter().find(|certificate| certificate.name == file::CA_CRT).map(|ca| ca.pem.as_str())
}
