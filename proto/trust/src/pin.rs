//! The pin of a public key, in the form that kubeadm made familiar: `sha256:<64 hex digits>`.

use std::fmt;
use std::str::FromStr;

use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::x509::{self, NotACertificate};

const PREFIX: &str = "sha256:";

/// SHA-256 of a DER SubjectPublicKeyInfo. It outlives renewals of a certificate that keep the key.
///
/// Equality takes constant time.
#[derive(Clone, Copy, Eq)]
pub struct Pin([u8; 32]);

impl Pin {
    /// The pin of a DER SubjectPublicKeyInfo, its outer SEQUENCE included.
    pub fn of_spki(spki_der: &[u8]) -> Self {
        Self(Sha256::digest(spki_der).into())
    }

    /// The pin of a certificate's public key.
    ///
    /// # Errors
    /// If `certificate` is not exactly one DER X.509 certificate.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, NotACertificate> {
        Ok(Self::of_spki(x509::parse(certificate)?.public_key().raw))
    }

    /// The pin with these digest bytes, for instance as read back from storage.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for Pin {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        let digits = text.strip_prefix(PREFIX).ok_or(PinError::NoPrefix)?;
        if digits.chars().count() != 64 {
            return Err(PinError::Length { digits: digits.chars().count() });
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| PinError::NotHex)?;
        Ok(Self(bytes))
    }
}

/// Why a text is not a pin, and what to write instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// `sha256:` is missing.
    #[error("a pin starts with \"sha256:\"; copy it whole, as `muster pin` prints it")]
    NoPrefix,
    /// Not 64 digits.
    #[error(
        "a pin has 64 hexadecimal digits after \"sha256:\", this one has {digits}; it may have been cut when copied"
    )]
    Length {
        /// Characters found after the prefix.
        digits: usize,
    },
    /// A character that is no hexadecimal digit.
    #[error("a pin has only the digits 0-9 and a-f after \"sha256:\"; copy it whole, as `muster pin` prints it")]
    NotHex,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "sha256:e1aa6649e300beb13400cdf1e600a2496462a09b52b6fe03417cdcf838b32d68";

    #[test]
    fn a_pin_survives_text() {
        let pin: Pin = TEXT.parse().unwrap();
        assert_eq!(pin.to_string(), TEXT);
        assert_eq!(Pin::from_bytes(*pin.as_bytes()), pin);
    }

    #[test]
    fn upper_case_digits_name_the_same_pin() {
        let upper = format!("sha256:{}", TEXT[7..].to_uppercase());
        assert_eq!(upper.parse::<Pin>().unwrap(), TEXT.parse::<Pin>().unwrap());
    }

    #[test]
    fn pins_that_differ_in_one_bit_are_not_equal() {
        let pin: Pin = TEXT.parse().unwrap();
        let mut bytes = *pin.as_bytes();
        bytes[31] ^= 1;
        assert_ne!(Pin::from_bytes(bytes), pin);
    }

    #[test]
    fn a_bad_pin_is_refused_with_the_reason() {
        assert_eq!(TEXT[7..].parse::<Pin>(), Err(PinError::NoPrefix));
        assert_eq!("".parse::<Pin>(), Err(PinError::NoPrefix));
        assert_eq!(TEXT[..70].parse::<Pin>(), Err(PinError::Length { digits: 63 }));
        assert_eq!(format!("{TEXT}0").parse::<Pin>(), Err(PinError::Length { digits: 65 }));
        assert_eq!(format!("{}g", &TEXT[..70]).parse::<Pin>(), Err(PinError::NotHex));
        assert_eq!(format!("{}é", &TEXT[..70]).parse::<Pin>(), Err(PinError::NotHex));
    }

    #[test]
    fn the_pin_of_a_certificate_is_the_digest_of_its_spki() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap().self_signed(&key).unwrap();
        let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
        assert_eq!(Pin::of_certificate(certificate.der()).unwrap(), Pin::of_spki(&spki));
    }

    #[test]
    fn bytes_after_a_certificate_are_refused() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap().self_signed(&key).unwrap();
        let mut der = certificate.der().to_vec();
        der.push(0);
        assert!(Pin::of_certificate(&der.into()).is_err());
    }
}
