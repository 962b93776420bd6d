//! The signature with which a machine proves, when it enrols, that it holds the key it asks a certificate for.
//!
//! ECDSA on P-256 with SHA-256, ASN.1 signatures, over `"muster/enrolment/v1\0"` (a server that joins:
//! `"muster/server-join/v1\0"`) and the statement's bytes. The statement
//! (nonce, CSR, sealing key, hardware facts) is made by the callers; here it is bytes, signed and verified as sent.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, UnparsedPublicKey};

/// Who states something of itself. It keeps the signatures apart from each other and from any other use of the key, TLS and
/// CSR included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A machine that enrols.
    Machine,
    /// A server that asks to join the fleet's servers.
    Server,
}

impl Purpose {
    const fn domain(self) -> &'static [u8] {
        match self {
            Self::Machine => b"muster/enrolment/v1\0",
            Self::Server => b"muster/server-join/v1\0",
        }
    }
}

/// A DER SubjectPublicKeyInfo of a P-256 key up to its point: id-ecPublicKey, prime256v1, a bit string of 66 bytes, and
/// the mark of an uncompressed point (RFC 5480).
const P256_SPKI_PREFIX: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];
const P256_SPKI_BYTES: usize = 91;

/// Signs a machine's `statement` with a P-256 key in PKCS#8 DER.
///
/// # Errors
/// [`StatementError::PrivateKey`] if the key is of another kind.
pub fn sign(key_pkcs8_der: &[u8], statement: &[u8]) -> Result<Vec<u8>, StatementError> {
    sign_for(Purpose::Machine, key_pkcs8_der, statement)
}

/// As [`sign`], for either purpose.
///
/// # Errors
/// As [`sign`].
pub fn sign_for(purpose: Purpose, key_pkcs8_der: &[u8], statement: &[u8]) -> Result<Vec<u8>, StatementError> {
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key_pkcs8_der)
        .map_err(|_| StatementError::PrivateKey)?;
    let signature =
        key.sign(&SystemRandom::new(), &bound(purpose, statement)).map_err(|_| StatementError::PrivateKey)?;
    Ok(signature.as_ref().to_vec())
}

/// Verifies that the holder of the key `spki_der` signed a machine's `statement`.
///
/// # Errors
/// [`StatementError::PublicKey`] unless the key is a P-256 key in its one DER form with an uncompressed point, so that
/// one key has one fingerprint; [`StatementError::Signature`] if the signature is not this key's over this statement.
pub fn verify(spki_der: &[u8], statement: &[u8], signature: &[u8]) -> Result<(), StatementError> {
    verify_for(Purpose::Machine, spki_der, statement, signature)
}

/// As [`verify`], for either purpose.
///
/// # Errors
/// As [`verify`].
pub fn verify_for(purpose: Purpose, spki_der: &[u8], statement: &[u8], signature: &[u8]) -> Result<(), StatementError> {
    let point = p256_point(spki_der)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
        .verify(&bound(purpose, statement), signature)
        .map_err(|_| StatementError::Signature)
}

/// Checks that `spki_der` is a P-256 key in its one DER form.
///
/// # Errors
/// [`StatementError::PublicKey`].
pub fn check_key(spki_der: &[u8]) -> Result<(), StatementError> {
    p256_point(spki_der).map(|_| ())
}

fn p256_point(spki_der: &[u8]) -> Result<&[u8], StatementError> {
    let good = spki_der.len() == P256_SPKI_BYTES && spki_der.starts_with(&P256_SPKI_PREFIX);
    // The mark of an uncompressed point is the last byte of the prefix and the first of the point.
    if good { Ok(&spki_der[P256_SPKI_PREFIX.len() - 1..]) } else { Err(StatementError::PublicKey) }
}

fn bound(purpose: Purpose, statement: &[u8]) -> Vec<u8> {
    [purpose.domain(), statement].concat()
}

/// Why a statement was not signed or not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// The private key is not usable.
    #[error("the identity key is not a P-256 key in PKCS#8 form")]
    PrivateKey,
    /// The public key is not usable.
    #[error("the identity key must be a P-256 key with an uncompressed point")]
    PublicKey,
    /// The signature does not fit.
    #[error("the statement was not signed with the key it names")]
    Signature,
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PublicKeyData};

    use super::*;

    fn mk_key() -> (KeyPair, Vec<u8>) {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let spki = key.subject_public_key_info();
        (key, spki)
    }

    #[test]
    fn a_signed_statement_verifies() {
        let (key, spki) = mk_key();
        let signature = sign(key.serialized_der(), b"statement").unwrap();
        verify(&spki, b"statement", &signature).unwrap();
    }

    #[test]
    fn another_statement_key_or_signature_does_not_verify() {
        let (key, spki) = mk_key();
        let (_, other) = mk_key();
        let signature = sign(key.serialized_der(), b"statement").unwrap();
        assert_eq!(verify(&spki, b"statemenT", &signature), Err(StatementError::Signature));
        assert_eq!(verify(&other, b"statement", &signature), Err(StatementError::Signature));
        assert_eq!(verify(&spki, b"statement", &signature[1..]), Err(StatementError::Signature));
        assert_eq!(verify(&spki, b"statement", b""), Err(StatementError::Signature));
    }

    #[test]
    fn a_signature_made_without_the_domain_does_not_verify() {
        let (key, spki) = mk_key();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.serialized_der()).unwrap();
        let signature = pair.sign(&SystemRandom::new(), b"statement").unwrap();
        assert_eq!(verify(&spki, b"statement", signature.as_ref()), Err(StatementError::Signature));
    }

    #[test]
    fn what_a_machine_signed_proves_nothing_of_a_server() {
        let (key, spki) = mk_key();
        for (signed, asked) in [(Purpose::Machine, Purpose::Server), (Purpose::Server, Purpose::Machine)] {
            let signature = sign_for(signed, key.serialized_der(), b"statement").unwrap();
            verify_for(signed, &spki, b"statement", &signature).unwrap();
            assert_eq!(verify_for(asked, &spki, b"statement", &signature), Err(StatementError::Signature));
        }
    }

    #[test]
    fn only_a_p256_key_in_its_one_form_is_accepted() {
        let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        assert_eq!(sign(p384.serialized_der(), b"s"), Err(StatementError::PrivateKey));
        assert_eq!(sign(ed25519.serialized_der(), b"s"), Err(StatementError::PrivateKey));
        assert_eq!(check_key(&p384.subject_public_key_info()), Err(StatementError::PublicKey));
        assert_eq!(check_key(&ed25519.subject_public_key_info()), Err(StatementError::PublicKey));

        let (_, mut spki) = mk_key();
        check_key(&spki).unwrap();
        spki.push(0);
        assert_eq!(check_key(&spki), Err(StatementError::PublicKey));
        // The same point, compressed: another fingerprint for the same key.
        let mut compressed = spki[..59].to_vec();
        (compressed[1], compressed[24], compressed[26]) = (0x39, 0x22, 0x02);
        assert_eq!(check_key(&compressed), Err(StatementError::PublicKey));
        assert_eq!(check_key(b""), Err(StatementError::PublicKey));
    }
}
