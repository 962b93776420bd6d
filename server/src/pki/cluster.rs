//! The PKI of a Kubernetes cluster, made before any machine of it exists, exactly as kubeadm would have made it.
//!
//! kubeadm finds these files, prints "Using existing … certificate authority" and signs its leaves with them. Since they
//! are known beforehand, so are the discovery pins, and all machines can boot at once.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use muster_trust::Pin;
use rcgen::{BasicConstraints, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData, RsaKeySize, SanType};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::certificate::{self, AUTHORITY_LIFETIME_MS, BACKDATE_MS};
use super::error::PkiError;
use super::pem;
use crate::seal::SecretText;

/// Names of the files, relative to `/etc/kubernetes/pki`.
pub mod file {
    /// Certificate of the cluster's authority; may be a bundle whose first certificate signs.
    pub const CA_CRT: &str = "ca.crt";
    /// Key of the cluster's authority.
    pub const CA_KEY: &str = "ca.key";
    /// Certificate of the authority for front proxies.
    pub const FRONT_PROXY_CA_CRT: &str = "front-proxy-ca.crt";
    /// Key of the authority for front proxies.
    pub const FRONT_PROXY_CA_KEY: &str = "front-proxy-ca.key";
    /// Certificate of etcd's authority.
    pub const ETCD_CA_CRT: &str = "etcd/ca.crt";
    /// Key of etcd's authority.
    pub const ETCD_CA_KEY: &str = "etcd/ca.key";
    /// Key that signs service accounts' tokens.
    pub const SA_KEY: &str = "sa.key";
    /// Key that verifies service accounts' tokens.
    pub const SA_PUB: &str = "sa.pub";
}

/// The authorities of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Authority {
    /// Signs API servers, kubelets and administrators.
    Cluster,
    /// Signs the API server as a client of extension API servers.
    FrontProxy,
    /// Signs etcd's members and clients.
    Etcd,
}

impl Authority {
    /// All three, in kubeadm's order.
    pub const ALL: [Authority; 3] = [Authority::Cluster, Authority::FrontProxy, Authority::Etcd];

    /// Name of the certificate's file.
    pub const fn certificate_file(self) -> &'static str {
        match self {
            Authority::Cluster => file::CA_CRT,
            Authority::FrontProxy => file::FRONT_PROXY_CA_CRT,
            Authority::Etcd => file::ETCD_CA_CRT,
        }
    }

    /// Name of the key's file.
    pub const fn key_file(self) -> &'static str {
        match self {
            Authority::Cluster => file::CA_KEY,
            Authority::FrontProxy => file::FRONT_PROXY_CA_KEY,
            Authority::Etcd => file::ETCD_CA_KEY,
        }
    }

    /// The subject that kubeadm gives it, which is its DNS name as well (phases/certs/certlist.go).
    pub const fn common_name(self) -> &'static str {
        match self {
            Authority::Cluster => "kubernetes",
            Authority::FrontProxy => "front-proxy-ca",
            Authority::Etcd => "etcd-ca",
        }
    }
}

/// kubeadm's `encryptionAlgorithm`. The same value belongs into the cluster's configuration, so that leaves match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyAlgorithm {
    /// kubeadm's default.
    #[default]
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits; making the four keys takes seconds.
    Rsa4096,
    /// ECDSA on P-256.
    EcdsaP256,
}

impl KeyAlgorithm {
    /// Every algorithm.
    pub const ALL: [KeyAlgorithm; 4] =
        [KeyAlgorithm::Rsa2048, KeyAlgorithm::Rsa3072, KeyAlgorithm::Rsa4096, KeyAlgorithm::EcdsaP256];

    /// kubeadm's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeyAlgorithm::Rsa2048 => "RSA-2048",
            KeyAlgorithm::Rsa3072 => "RSA-3072",
            KeyAlgorithm::Rsa4096 => "RSA-4096",
            KeyAlgorithm::EcdsaP256 => "ECDSA-P256",
        }
    }

    fn generate(self) -> Result<KeyPair, rcgen::Error> {
        let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
        match self {
            KeyAlgorithm::Rsa2048 => rsa(RsaKeySize::_2048),
            KeyAlgorithm::Rsa3072 => rsa(RsaKeySize::_3072),
            KeyAlgorithm::Rsa4096 => rsa(RsaKeySize::_4096),
            KeyAlgorithm::EcdsaP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyAlgorithm {
    type Err = UnknownKeyAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownKeyAlgorithm> {
        Self::ALL.into_iter().find(|known| known.as_str() == text).ok_or(UnknownKeyAlgorithm)
    }
}

/// The text names no algorithm that kubeadm has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key algorithm is one of RSA-2048, RSA-3072, RSA-4096 and ECDSA-P256")]
pub struct UnknownKeyAlgorithm;

/// The content of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PkiFile {
    /// Certificates or a public key, PEM.
    Public(String),
    /// A private key, PEM.
    Secret(SecretText),
}

impl PkiFile {
    /// The content, secret or not.
    pub fn expose(&self) -> &str {
        match self {
            PkiFile::Public(text) => text,
            PkiFile::Secret(text) => text.expose(),
        }
    }
}

/// The files of a cluster's PKI that control planes share, by their names under `/etc/kubernetes/pki`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterPki {
    /// Content by name; the names are those in [`file`].
    pub files: BTreeMap<&'static str, PkiFile>,
}

impl ClusterPki {
    /// Makes all eight files. It occupies a thread, for seconds with the longer RSA keys: call it where that is allowed.
    ///
    /// # Errors
    /// If the system has no randomness or the time cannot stand in a certificate.
    pub fn generate(algorithm: KeyAlgorithm, now_ms: u64) -> Result<Self, PkiError> {
        let mut files = BTreeMap::new();
        for authority in Authority::ALL {
            let key = algorithm.generate()?;
            let certificate = certify(authority, &key, now_ms)?;
            let text = pem::encode("CERTIFICATE", &certificate).to_string();
            files.insert(authority.certificate_file(), PkiFile::Public(text));
            files.insert(authority.key_file(), private(&key));
        }
        let key = algorithm.generate()?;
        let public = pem::encode("PUBLIC KEY", &key.subject_public_key_info());
        files.insert(file::SA_KEY, private(&key));
        files.insert(file::SA_PUB, PkiFile::Public(public.to_string()));
        Ok(Self { files })
    }

    /// The discovery pins: one for each certificate of `ca.crt`, in the order of the file. Empty if there is none.
    ///
    /// # Errors
    /// If the file holds something that is no certificate.
    pub fn pins(&self) -> Result<Vec<Pin>, PkiError> {
        let text = self.files.get(file::CA_CRT).map_or("", PkiFile::expose);
        CertificateDer::pem_slice_iter(text.as_bytes())
            .map(|item| Ok(Pin::of_certificate(&item.map_err(|_| muster_trust::NotACertificate)?)?))
            .collect()
    }
}

fn private(key: &KeyPair) -> PkiFile {
    // kubeadm writes PKCS#1 and SEC1; client-go's keyutil reads PKCS#8 as well (ParsePrivateKeyPEM).
    PkiFile::Secret(pem::encode("PRIVATE KEY", key.serialized_der()).into())
}

/// As client-go's NewSelfSignedCACert: the same usages, dates, name and DNS name.
fn certify(authority: Authority, key: &KeyPair, now_ms: u64) -> Result<CertificateDer<'static>, PkiError> {
    let not_after_ms = now_ms.saturating_add(AUTHORITY_LIFETIME_MS);
    let name = authority.common_name();
    let mut params = certificate::params(name, now_ms.saturating_sub(BACKDATE_MS), not_after_ms)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment, KeyUsagePurpose::KeyCertSign];
    params.subject_alt_names = vec![SanType::DnsName(name.try_into()?)];
    Ok(params.self_signed(key)?.into())
}

#[cfg(test)]
mod tests;
