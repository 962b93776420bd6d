//! Secrets as records hold them: which associated data each kind is bound to, in one place.

use anyhow::Context as _;
use muster_state::{ClusterId, SecretName, TokenId, record::SealedSecret};
use zeroize::Zeroizing;

use crate::seal::{Sealer, SecretContext};

/// What a sealed secret is; with its revision this is its associated data (fleet, epoch and format are the sealer's).
#[derive(Clone, Copy, Debug)]
pub enum Secret<'a> {
    /// A private key of the fleet's PKI, by role.
    FleetKey(&'a str),
    /// A private key of a cluster, by kubeadm's file name.
    ClusterKey(&'a ClusterId, &'a str),
    /// The certificate key of a cluster's join window.
    CertificateKey(&'a ClusterId),
    /// The kubeconfig of a cluster that was brought in.
    Credentials(&'a ClusterId),
    /// The secret part of a bootstrap token.
    BootstrapToken(&'a ClusterId, &'a TokenId),
}

impl<'a> From<&'a SecretName> for Secret<'a> {
    fn from(name: &'a SecretName) -> Self {
        match name {
            SecretName::FleetKey(role) => Self::FleetKey(role),
            SecretName::ClusterKey(cluster, name) => Self::ClusterKey(cluster, name),
            SecretName::CertificateKey(cluster) => Self::CertificateKey(cluster),
            SecretName::Credentials(cluster) => Self::Credentials(cluster),
            SecretName::BootstrapToken(cluster, token) => Self::BootstrapToken(cluster, token),
        }
    }
}

impl Secret<'_> {
    fn context(&self, revision: u64) -> SecretContext<'_> {
        let (cluster, kind, object) = match *self {
            Self::FleetKey(role) => ("", "fleet-key", role),
            Self::ClusterKey(cluster, name) => (cluster.as_str(), "cluster-key", name),
            Self::CertificateKey(cluster) => (cluster.as_str(), "certificate-key", "certificate-key"),
            Self::Credentials(cluster) => (cluster.as_str(), "credentials", "kubeconfig"),
            Self::BootstrapToken(cluster, token) => (cluster.as_str(), "bootstrap-token", token.as_str()),
        };
        SecretContext { cluster, kind, object, revision }
    }

    /// Seals it at a revision.
    pub fn seal(self, sealer: &Sealer, revision: u64, plain: &[u8]) -> anyhow::Result<SealedSecret> {
        let sealed = sealer.seal(&self.context(revision), plain).with_context(|| format!("sealing {self:?}"))?;
        Ok(SealedSecret { revision, sealed })
    }

    /// Opens it. Call only for a server's own work, or after a committed `Release`.
    pub fn open(self, sealer: &Sealer, secret: &SealedSecret) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        sealer.open(&self.context(secret.revision), &secret.sealed).with_context(|| format!("opening {self:?}"))
    }

    /// Opens one that is text.
    pub fn open_text(self, sealer: &Sealer, secret: &SealedSecret) -> anyhow::Result<Zeroizing<String>> {
        let plain = self.open(sealer, secret)?;
        let text = std::str::from_utf8(&plain).with_context(|| format!("{self:?} is not text"))?;
        Ok(Zeroizing::new(text.to_owned()))
    }
}
