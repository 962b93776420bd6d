//! The key with which a server proves who it is.

use std::fmt;

use muster_state::Digest;
use muster_trust::{Pin, TlsIdentity, statement};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::{
    pki::{CertificateRequest, PkiError},
    seal::SecretBytes,
};

/// A P-256 key. It never prints.
pub struct IdentityKey {
    pair: KeyPair,
    pkcs8: SecretBytes,
}

impl IdentityKey {
    /// A new key.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn generate() -> Result<Self, PkiError> {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let pkcs8 = SecretBytes::from(Zeroizing::new(pair.serialize_der()));
        Ok(Self { pair, pkcs8 })
    }

    /// The key in this PKCS#8 DER.
    ///
    /// # Errors
    /// If it is no P-256 key.
    pub fn from_pkcs8(pkcs8: SecretBytes) -> Result<Self, PkiError> {
        let der = PrivatePkcs8KeyDer::from(pkcs8.expose());
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_ECDSA_P256_SHA256)?;
        Ok(Self { pair, pkcs8 })
    }

    /// PKCS#8 in DER.
    pub fn pkcs8(&self) -> &[u8] {
        self.pkcs8.expose()
    }

    /// SHA-256 of its SPKI: what an operator compares.
    pub fn fingerprint(&self) -> Digest {
        Digest(*Pin::of_spki(&self.pair.subject_public_key_info()).as_bytes())
    }

    /// A certificate request for it that names nobody, PKCS#10 DER.
    ///
    /// # Errors
    /// If it can't be signed.
    pub fn request_der(&self) -> Result<Vec<u8>, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        Ok(params.serialize_request(&self.pair)?.der().to_vec())
    }

    /// The same, read as whoever signs it reads it.
    ///
    /// # Errors
    /// As [`IdentityKey::request_der`].
    pub fn request(&self) -> Result<CertificateRequest, PkiError> {
        Ok(CertificateRequest::parse(&self.request_der()?)?)
    }

    /// Signs what this server states of itself.
    ///
    /// # Errors
    /// If the library refuses.
    pub fn sign(&self, statement: &[u8]) -> Result<Vec<u8>, statement::StatementError> {
        statement::sign_for(statement::Purpose::Server, self.pkcs8(), statement)
    }

    /// What connections show, with the certificates `chain`.
    pub fn with_chain(&self, chain: Vec<CertificateDer<'static>>) -> TlsIdentity {
        TlsIdentity { chain, key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pkcs8().to_vec())) }
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityKey({})", self.fingerprint())
    }
}
