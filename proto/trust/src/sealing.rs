//! Sealing a secret to one machine: HPKE (RFC 9180), base mode, X25519, HKDF-SHA256, AES-256-GCM.
//!
//! The server seals to the public key that the machine sent when it enrolled; relays between them carry ciphertext. Base
//! mode says nothing about who sealed: that is the TLS connection's word.

use std::fmt;

use aws_lc_rs::agreement;
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256 as SUITE;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};
use zeroize::Zeroizing;

/// What keeps these ciphertexts apart from any other use of the same keys.
const DOMAIN: &[u8] = b"muster/seal-to-node/v1\0";

/// The half of a machine's sealing key that servers know.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SealingPublicKey([u8; 32]);

impl SealingPublicKey {
    /// The key with these bytes, as a machine sent them.
    ///
    /// # Errors
    /// If there are not 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealingError> {
        bytes.try_into().map(Self).map_err(|_| SealingError::Key)
    }

    /// The raw X25519 public key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SealingPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingPublicKey({})", hex::encode(self.0))
    }
}

/// The half of a machine's sealing key that never leaves it.
pub struct SealingPrivateKey {
    secret: Zeroizing<[u8; 32]>,
    public: SealingPublicKey,
}

impl SealingPrivateKey {
    /// A new key.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn generate() -> Result<Self, SealingError> {
        let (_, secret) = SUITE.generate_key_pair().map_err(|_| SealingError::Key)?;
        Self::from_bytes(secret.secret_bytes())
    }

    /// The key with these bytes, as [`SealingPrivateKey::to_bytes`] gave them.
    ///
    /// # Errors
    /// If there are not 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealingError> {
        let mut secret = Zeroizing::new([0; 32]);
        if bytes.len() != secret.len() {
            return Err(SealingError::Key);
        }
        secret.copy_from_slice(bytes);
        let key = agreement::PrivateKey::from_private_key(&agreement::X25519, secret.as_ref())
            .map_err(|_| SealingError::Key)?;
        let public = key.compute_public_key().map_err(|_| SealingError::Key)?;
        let public = SealingPublicKey::from_bytes(public.as_ref())?;
        Ok(Self { secret, public })
    }

    /// The raw X25519 private key, for the machine's own disk.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.secret.clone()
    }

    /// The half to give away.
    pub const fn public(&self) -> SealingPublicKey {
        self.public
    }
}

impl fmt::Debug for SealingPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingPrivateKey([redacted])")
    }
}

/// A secret that one machine can open. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedToNode {
    /// HPKE's encapsulated key, 32 bytes.
    pub enc: Vec<u8>,
    /// Ciphertext and tag: 16 bytes longer than the secret.
    pub ciphertext: Vec<u8>,
}

/// Seals `plaintext` to `public`. `context` says what it is and for whom (node, instruction, revision); opening needs the
/// same bytes.
///
/// # Errors
/// If the public key is no point that can be agreed with.
pub fn seal_to(public: &SealingPublicKey, context: &[u8], plaintext: &[u8]) -> Result<SealedToNode, SealingError> {
    let bound = [DOMAIN, context].concat();
    let (enc, ciphertext) =
        SUITE.seal(&bound, &bound, plaintext, &HpkePublicKey(public.0.to_vec())).map_err(|_| SealingError::Key)?;
    Ok(SealedToNode { enc: enc.0, ciphertext })
}

/// Opens what [`seal_to`] made for this key and `context`.
///
/// # Errors
/// [`SealingError::Open`] if it was made for another key or context, or was altered; which of them cannot be told.
pub fn open(
    private: &SealingPrivateKey,
    context: &[u8],
    sealed: &SealedToNode,
) -> Result<Zeroizing<Vec<u8>>, SealingError> {
    let bound = [DOMAIN, context].concat();
    let secret = HpkePrivateKey::from(private.secret.to_vec());
    SUITE
        .open(&EncapsulatedSecret(sealed.enc.clone()), &bound, &bound, &sealed.ciphertext, &secret)
        .map(Zeroizing::new)
        .map_err(|_| SealingError::Open)
}

/// Why sealing or opening failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealingError {
    /// A key is not a usable X25519 key.
    #[error("not a usable X25519 key of 32 bytes")]
    Key,
    /// The ciphertext is not for this key and context.
    #[error("the sealed secret is not for this machine and purpose, or was altered")]
    Open,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_to_a_machine_opens_there() {
        let key = SealingPrivateKey::generate().unwrap();
        let sealed = seal_to(&key.public(), b"node-1/7", b"secret").unwrap();
        assert_eq!(sealed.ciphertext.len(), 6 + 16);
        assert_eq!(open(&key, b"node-1/7", &sealed).unwrap().as_slice(), b"secret");
    }

    #[test]
    fn a_key_survives_bytes() {
        let key = SealingPrivateKey::generate().unwrap();
        let again = SealingPrivateKey::from_bytes(key.to_bytes().as_ref()).unwrap();
        assert_eq!(again.public(), key.public());
        let sealed = seal_to(&key.public(), b"", b"").unwrap();
        assert!(open(&again, b"", &sealed).unwrap().is_empty());
    }

    #[test]
    fn another_context_key_or_byte_does_not_open() {
        let key = SealingPrivateKey::generate().unwrap();
        let other = SealingPrivateKey::generate().unwrap();
        let sealed = seal_to(&key.public(), b"node-1/7", b"secret").unwrap();
        assert_eq!(open(&key, b"node-1/8", &sealed).unwrap_err(), SealingError::Open);
        assert_eq!(open(&key, b"", &sealed).unwrap_err(), SealingError::Open);
        assert_eq!(open(&other, b"node-1/7", &sealed).unwrap_err(), SealingError::Open);
        for i in 0..sealed.ciphertext.len() {
            let mut altered = sealed.clone();
            altered.ciphertext[i] ^= 1;
            assert_eq!(open(&key, b"node-1/7", &altered).unwrap_err(), SealingError::Open);
        }
        let mut altered = sealed.clone();
        altered.enc[0] ^= 1;
        assert_eq!(open(&key, b"node-1/7", &altered).unwrap_err(), SealingError::Open);
        altered.enc.clear();
        assert_eq!(open(&key, b"node-1/7", &altered).unwrap_err(), SealingError::Open);
    }

    #[test]
    fn a_ciphertext_made_without_the_domain_does_not_open() {
        let key = SealingPrivateKey::generate().unwrap();
        let public = HpkePublicKey(key.public().as_bytes().to_vec());
        let (enc, ciphertext) = SUITE.seal(b"c", b"c", b"secret", &public).unwrap();
        let sealed = SealedToNode { enc: enc.0, ciphertext };
        assert_eq!(open(&key, b"c", &sealed).unwrap_err(), SealingError::Open);
    }

    #[test]
    fn two_seals_of_one_secret_differ() {
        let key = SealingPrivateKey::generate().unwrap();
        let seal = || seal_to(&key.public(), b"c", b"secret").unwrap();
        assert_ne!(seal(), seal());
    }

    #[test]
    fn a_key_of_another_length_or_order_is_refused() {
        assert_eq!(SealingPublicKey::from_bytes(&[9; 31]).unwrap_err(), SealingError::Key);
        assert_eq!(SealingPrivateKey::from_bytes(&[9; 33]).unwrap_err(), SealingError::Key);
        // The point of small order would give every sender the same shared secret.
        let zero = SealingPublicKey::from_bytes(&[0; 32]).unwrap();
        assert_eq!(seal_to(&zero, b"c", b"secret").unwrap_err(), SealingError::Key);
    }

    #[test]
    fn a_private_key_does_not_print() {
        let key = SealingPrivateKey::generate().unwrap();
        assert_eq!(format!("{key:?}"), "SealingPrivateKey([redacted])");
    }
}
