//! Who is at the other end of a verified connection.

use std::fmt;

use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};

use crate::pin::Pin;
use crate::spiffe::SpiffeId;
use crate::verify::VerifyError;
use crate::x509;

/// SHA-256 of a whole DER certificate. Unlike a [`Pin`] it changes with every renewal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate.as_ref()).into())
    }

    /// The fingerprint with these digest bytes, for instance as read back from storage.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The identity at the other end, as its certificate states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Who it is.
    pub spiffe: SpiffeId,
    /// Which certificate it showed.
    pub certificate_fingerprint: Fingerprint,
    /// Which key it holds.
    pub spki_fingerprint: Pin,
    /// First moment of the certificate, milliseconds since 1970.
    pub not_before_ms: u64,
    /// Last moment of the certificate, milliseconds since 1970.
    pub not_after_ms: u64,
}

impl Peer {
    /// Reads the peer from the certificates of a connection, the leaf first (`peer_certificates()` of a rustls
    /// connection). It verifies nothing: call it only on a connection that [`crate::RoleVerifier`] or
    /// [`crate::ServerVerifier`] has let through.
    ///
    /// # Errors
    /// If there is no certificate, or the first one carries no identity.
    pub fn of_certificates(certificates: &[CertificateDer<'_>]) -> Result<Self, VerifyError> {
        let leaf = certificates.first().ok_or(VerifyError::NoCertificate)?;
        Self::of_certificate(leaf)
    }

    /// Reads the peer from its own certificate, see [`Peer::of_certificates`].
    ///
    /// # Errors
    /// If the certificate cannot be read or carries no identity.
    pub fn of_certificate(leaf: &CertificateDer<'_>) -> Result<Self, VerifyError> {
        let parsed = x509::parse(leaf)?;
        Ok(Self {
            spiffe: SpiffeId::of_certificate(leaf)?,
            certificate_fingerprint: Fingerprint::of_certificate(leaf),
            spki_fingerprint: Pin::of_spki(parsed.public_key().raw),
            not_before_ms: x509::unix_ms(parsed.validity().not_before.timestamp()),
            not_after_ms: x509::unix_ms(parsed.validity().not_after.timestamp()),
        })
    }
}
