//! What the leader shows to a linked cluster's API server: a certificate of the cluster's authority, whose key is opened for this and
//! wiped after, or, to a cluster that was brought in, what its kubeconfig holds. And what it shows to its etcd.

use anyhow::Context as _;
use muster_state::record::{Cluster, Credentials};
use muster_trust::TlsIdentity;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::{Unsealed, vault::Secret};
use crate::{
    clock::now_ms,
    kubeadm::link_rbac::GROUP,
    pki::{
        LinkTerms, file, issue_for_link,
        kubeconfig::{Kubeconfig, Login},
    },
    seal::SecretText,
};

/// Who calls, in memory only.
#[derive(Debug)]
pub enum Shown {
    /// By a client certificate.
    Certificate(TlsIdentity),
    /// By a bearer token.
    Token(SecretText),
}

/// What to show; `None` if there is neither a kubeconfig nor the authority's key.
///
/// # Errors
/// If this server has no keys, or what is stored of the cluster does not fit together.
pub fn issue(server: &Unsealed, cluster: &Cluster) -> anyhow::Result<Option<Shown>> {
    if let Some(credentials) = &cluster.credentials {
        return Ok(Some(shown(&open(server, cluster, credentials)?.login)?));
    }
    Ok(certified_by(server, cluster, file::CA_CRT, file::CA_KEY)?.map(Shown::Certificate))
}

/// What is shown to its etcd, which lets in whoever its own authority has certified: an identity for an hour, in memory only; `None`
/// if that authority's key is not here.
///
/// # Errors
/// If this server has no keys, or what is stored of the authority does not fit together.
pub fn issue_for_etcd(server: &Unsealed, cluster: &Cluster) -> anyhow::Result<Option<TlsIdentity>> {
    certified_by(server, cluster, file::ETCD_CA_CRT, file::ETCD_CA_KEY)
}

fn certified_by(server: &Unsealed, cluster: &Cluster, crt: &str, key: &str) -> anyhow::Result<Option<TlsIdentity>> {
    let Some(sealed) = cluster.keys.get(key) else { return Ok(None) };
    let authority = pem(cluster, crt).with_context(|| format!("the cluster has no {crt}"))?;
    let key = Secret::ClusterKey(&cluster.id, key).open(&server.keys()?.sealer, sealed)?;
    let user = format!("muster:server:{}", server.id);
    let terms = LinkTerms { user: &user, group: GROUP };
    Ok(Some(issue_for_link(authority, &key, terms, now_ms())?))
}

fn open(server: &Unsealed, cluster: &Cluster, credentials: &Credentials) -> anyhow::Result<Kubeconfig> {
    let text = Secret::Credentials(&cluster.id).open_text(&server.keys()?.sealer, &credentials.secret)?;
    Ok(Kubeconfig::parse(&text)?)
}

/// What a kubeconfig shows.
///
/// # Errors
/// If its certificate or key can't be read, which was checked when it was.
pub fn shown(login: &Login) -> anyhow::Result<Shown> {
    match login {
        Login::Token(token) => Ok(Shown::Token(token.clone())),
        Login::Certificate { chain, key } => {
            let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>();
            let chain = chain.ok().context("its client certificate can't be read")?;
            let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).ok().context("its key can't be read")?;
            Ok(Shown::Certificate(TlsIdentity { chain, key }))
        }
    }
}

/// The authorities that the API server's certificate may come from, PEM.
#[must_use]
pub fn authority(cluster: &Cluster) -> Option<&str> {
    pem(cluster, file::CA_CRT)
}

/// The authorities that the certificates of etcd's members may come from, PEM.
#[must_use]
pub fn etcd_authority(cluster: &Cluster) -> Option<&str> {
    pem(cluster, file::ETCD_CA_CRT)
}

/// Whether the leader can certify itself for the cluster's etcd: it is the cluster's own, and its authority's key is here.
#[must_use]
pub fn has_etcd_key(cluster: &Cluster) -> bool {
    cluster.keys.contains_key(file::ETCD_CA_KEY) && etcd_authority(cluster).is_some()
}

fn pem<'a>(cluster: &'a Cluster, name: &str) -> Option<&'a str> {
    cluster.certificates.iter().find(|certificate| certificate.name == name).map(|found| found.pem.as_str())
}
