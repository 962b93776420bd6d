//! The certificate and key that this end shows, replaceable while connections are served.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::provider;
use crate::peer::Peer;
use crate::verify::VerifyError;

/// A certificate chain, the leaf first, and the private key of the leaf.
///
/// A server's chain goes up to and includes the fleet root, because a machine that knows only the pin learns the root from
/// it. A client's chain is the leaf alone, or with its intermediate.
pub struct TlsIdentity {
    /// The leaf and what comes after it.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key; rustls wipes none of its copies, so keep few.
    pub key: PrivateKeyDer<'static>,
}

impl Clone for TlsIdentity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity").field("chain", &self.chain.len()).field("key", &"[redacted]").finish()
    }
}

/// Why a chain and a key cannot be used together.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The key cannot be used, or belongs to another certificate.
    #[error("certificate and private key do not fit: {0}")]
    Key(#[source] rustls::Error),
    /// The leaf carries no identity.
    #[error("the certificate carries no identity")]
    Leaf(#[from] VerifyError),
}

/// The identity in use. [`IdentityCell::replace`] swaps it for new handshakes; running connections keep what they showed.
pub struct IdentityCell {
    // Nothing is awaited or computed while it is held.
    current: RwLock<Current>,
}

struct Current {
    key: Arc<CertifiedKey>,
    peer: Peer,
}

impl IdentityCell {
    /// A cell that shows `identity`.
    ///
    /// # Errors
    /// If the key does not belong to the leaf, or the leaf carries no identity.
    pub fn new(identity: TlsIdentity) -> Result<Self, IdentityError> {
        Ok(Self { current: RwLock::new(Current::new(identity)?) })
    }

    /// Shows `identity` from the next handshake on. On an error the old one stays.
    ///
    /// # Errors
    /// As for [`IdentityCell::new`].
    pub fn replace(&self, identity: TlsIdentity) -> Result<(), IdentityError> {
        let next = Current::new(identity)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// Who this end is at present, and until when.
    pub fn peer(&self) -> Peer {
        self.current.read().unwrap_or_else(PoisonError::into_inner).peer.clone()
    }

    fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).key)
    }
}

impl Current {
    fn new(identity: TlsIdentity) -> Result<Self, IdentityError> {
        let peer = Peer::of_certificates(&identity.chain)?;
        let key = CertifiedKey::from_der(identity.chain, identity.key, &provider()).map_err(IdentityError::Key)?;
        Ok(Self { key: Arc::new(key), peer })
    }
}

impl fmt::Debug for IdentityCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IdentityCell").field(&self.peer().spiffe).finish()
    }
}

impl ResolvesServerCert for IdentityCell {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.certified_key())
    }
}

impl ResolvesClientCert for IdentityCell {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.certified_key())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
