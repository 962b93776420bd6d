//! The key that encrypts `kubeadm-certs`: 32 random bytes, written as 64 hex digits.

use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::token::EntropyError;
use crate::seal::SecretText;

/// Bytes in a certificate key (`CertificateKeySize` of kubeadm: an AES-256 key).
pub const LENGTH: usize = 32;

/// A certificate key. Whoever holds it and may read `kubeadm-certs` holds the cluster's CA keys.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct CertificateKey([u8; LENGTH]);

/// Why a text is no certificate key. No message repeats any part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateKeyError {
    /// Too short or too long.
    #[error("the certificate key has {found} characters, not {}", LENGTH * 2)]
    Length {
        /// Characters found.
        found: usize,
    },
    /// Not hexadecimal.
    #[error("character {position} of the certificate key is no hex digit")]
    Digit {
        /// Counted from 1.
        position: usize,
    },
}

impl CertificateKey {
    /// Parses 64 hex digits of either case.
    pub fn parse(text: &str) -> Result<Self, CertificateKeyError> {
        let found = text.chars().count();
        if found != LENGTH * 2 {
            return Err(CertificateKeyError::Length { found });
        }
        if let Some(index) = text.chars().position(|c| !c.is_ascii_hexdigit()) {
            return Err(CertificateKeyError::Digit { position: index + 1 });
        }
        let mut key = Self([0; LENGTH]);
        hex::decode_to_slice(text, &mut key.0).expect("64 hex digits were counted above");
        Ok(key)
    }

    /// Makes a new key from the system's random source.
    pub fn generate() -> Result<Self, EntropyError> {
        let mut key = Self([0; LENGTH]);
        aws_lc_rs::rand::fill(&mut key.0).map_err(|_| EntropyError)?;
        Ok(key)
    }

    /// Takes a key's bytes over, as stored.
    pub fn from_bytes(bytes: &Zeroizing<[u8; LENGTH]>) -> Self {
        Self(**bytes)
    }

    /// The key's bytes, for sealing or encrypting.
    pub fn expose_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }

    /// The key as 64 lower-case hex digits. There is no `Display`, so that nobody prints one by accident.
    pub fn expose(&self) -> SecretText {
        SecretText::from(hex::encode(self.0))
    }
}

impl fmt::Debug for CertificateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertificateKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::super::vectors;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_that_kubeadm_generated_parse_and_come_back_unchanged() {
        let text = vectors::text("tokens/certificate-key-10.txt");
        assert_eq!(text.lines().count(), 10);
        for line in text.lines() {
            assert_eq!(CertificateKey::parse(line).unwrap().expose().expose(), line);
        }
    }

    #[test]
    fn what_kubeadm_refuses_is_refused() {
        assert_eq!(CertificateKey::parse("abcd").unwrap_err(), CertificateKeyError::Length { found: 4 });
        let text = format!("{}z", "0".repeat(63));
        assert_eq!(CertificateKey::parse(&text).unwrap_err(), CertificateKeyError::Digit { position: 64 });
    }

    #[test]
    fn generated_keys_differ_and_debug_hides_them() {
        let key = CertificateKey::generate().unwrap();
        assert_ne!(key, CertificateKey::generate().unwrap());
        assert_eq!(format!("{key:?}"), "CertificateKey([redacted])");
    }

    proptest! {
        #[test]
        fn every_key_survives_text_and_back(bytes: [u8; LENGTH]) {
            let key = CertificateKey::from_bytes(&Zeroizing::new(bytes));
            prop_assert_eq!(&CertificateKey::parse(key.expose().expose()).unwrap(), &key);
            prop_assert_eq!(&CertificateKey::parse(&key.expose().expose().to_uppercase()).unwrap(), &key);
        }
    }
}
