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

    /// When to renew this certificate: at two thirds of its life, milliseconds since 1970. A third remains for whatever
    /// keeps the server from answering.
    pub const fn renew_at_ms(&self) -> u64 {
        let life_ms = self.not_after_ms.saturating_sub(self.not_before_ms);
        // Divided first: a life in milliseconds times two fits, but nothing has to be proved this way.
        self.not_before_ms.saturating_add(life_ms / 3 * 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spiffe::Role;
    use crate::testing::{NOW_S, mk_fleet};

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_of_its_life() {
        let leaf = mk_fleet().leaf(Role::Node, "n");
        let peer = Peer::of_certificate(&leaf.der).unwrap();
        // From one hour before to 24 hours after the moment of the tests: 25 hours.
        let expected_s = NOW_S - 3600 + 60_000;
        assert_eq!(peer.renew_at_ms(), expected_s * 1000);
    }

    #[test]
    fn two_certificates_of_one_key_differ_in_fingerprint_and_not_in_pin() {
        let fleet = mk_fleet();
        let leaf = fleet.leaf(Role::Node, "n");
        let mut params = crate::testing::mk_leaf_params(Role::Node, "n");
        params.not_after += time::Duration::hours(1);
        let renewed = params.signed_by(&leaf.key, &fleet.node).unwrap();
        let before = Peer::of_certificate(&leaf.der).unwrap();
        let after = Peer::of_certificates(&[renewed.der().clone()]).unwrap();
        assert_eq!(before.spki_fingerprint, after.spki_fingerprint);
        assert_ne!(before.certificate_fingerprint, after.certificate_fingerprint);
        assert_eq!(Peer::of_certificates(&[]), Err(VerifyError::NoCertificate));
        assert!(before.certificate_fingerprint.to_string().starts_with("sha256:"));
    }
}
