//! What an import tells: what was found, what is missing, what is wrong.

use std::fmt;

use muster_trust::Pin;

use crate::pki::cluster::Authority;

/// An authority that expires within this time is marked: ninety days.
pub const EXPIRES_SOON_MS: u64 = 90 * 24 * 3600 * 1000;

/// What an operator should know about a PKI that was taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportReport {
    /// The authorities found.
    pub authorities: Vec<AuthorityReport>,
    /// Shared files that were not there. Without the service accounts' keys or the front-proxy authority no control plane
    /// can be added; etcd's authority is missing where etcd is external.
    pub missing: Vec<&'static str>,
    /// Files of one machine, which were left alone.
    pub machine: Vec<String>,
    /// Files that kubeadm does not make, which were left alone.
    pub unknown: Vec<String>,
}

/// One authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityReport {
    /// Which.
    pub authority: Authority,
    /// Its certificates, the signing one first.
    pub certificates: Vec<CertificateReport>,
    /// Whether its key was there.
    pub key: KeyReport,
}

/// One certificate of an authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateReport {
    /// Its subject, for people.
    pub subject: String,
    /// The pin of its key.
    pub pin: Pin,
    /// Its last moment, milliseconds since 1970.
    pub not_after_ms: u64,
    /// Whether that is within [`EXPIRES_SOON_MS`].
    pub expires_soon: bool,
}

/// Where an authority's key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyReport {
    /// In the import.
    Present,
    /// Elsewhere: an external authority. kubeadm then signs nothing and `upload-certs` is refused, so control planes must
    /// bring their own certificates and somebody else must sign kubelets.
    External,
}

/// Everything that is wrong with a PKI; nothing of it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportError {
    /// File by file, at least one.
    pub problems: Vec<FileProblem>,
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ImportError {}

/// What is wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct FileProblem {
    /// Its name in the directory.
    pub file: &'static str,
    /// What is wrong.
    pub problem: Problem,
}

/// What can be wrong with a file. No variant repeats its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not there.
    #[error(
        "missing, and without it nothing can be joined; is this the directory /etc/kubernetes/pki of a control plane?"
    )]
    Missing,
    /// Too long.
    #[error("longer than {bytes_max} bytes")]
    TooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// Too many certificates.
    #[error("more than {max} certificates")]
    TooManyCertificates {
        /// The limit.
        max: usize,
    },
    /// Broken PEM.
    #[error("not well-formed PEM")]
    NotPem,
    /// PEM without a certificate.
    #[error("holds no certificate")]
    NoCertificate,
    /// A certificate that cannot be read.
    #[error("holds a certificate that cannot be read")]
    NotACertificate,
    /// A leaf.
    #[error("holds a certificate that is not an authority's (basicConstraints without CA:TRUE)")]
    NotAnAuthority,
    /// An authority that may not sign certificates.
    #[error("holds a certificate that may not sign others (keyUsage without keyCertSign)")]
    MayNotSign,
    /// Expired.
    #[error("holds a certificate that expired {days} days ago; renew it before importing")]
    Expired {
        /// Whole days since.
        days: u64,
    },
    /// Not valid yet.
    #[error("holds a certificate that becomes valid in {minutes} minutes; check this server's clock")]
    NotYetValid {
        /// Whole minutes until.
        minutes: u64,
    },
    /// No private key.
    #[error("holds no private key in PEM (RSA PRIVATE KEY, EC PRIVATE KEY or PRIVATE KEY)")]
    NotAKey,
    /// A key under a passphrase.
    #[error("is encrypted with a passphrase, which kubeadm cannot read; decrypt it with `openssl pkey`")]
    EncryptedKey,
    /// A kind of key that cannot be used.
    #[error("holds a key that cannot be used: RSA with 2048 to 8192 bits, P-256, P-384, P-521 and Ed25519 can")]
    UnusableKey,
    /// The key of another certificate.
    #[error("is not the key of the first certificate in {certificate_file}")]
    KeyOfAnother {
        /// The certificate's file.
        certificate_file: &'static str,
    },
    /// A key alone.
    #[error("is there without its certificate {certificate_file}")]
    KeyWithoutCertificate {
        /// The certificate's file.
        certificate_file: &'static str,
    },
    /// No public key.
    #[error("holds no PUBLIC KEY in PEM; make it with `openssl pkey -in sa.key -pubout`")]
    NotAPublicKey,
    /// The public key of another private key.
    #[error("is not the public half of {key_file}")]
    PublicKeyOfAnother {
        /// The private key's file.
        key_file: &'static str,
    },
}
