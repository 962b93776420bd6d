//! CA pins: `sha256:` and the lower-case hex of SHA-256 over a certificate's SubjectPublicKeyInfo in DER. A CA that is
//! issued again with the same key keeps its pin.

use muster_trust::Pin;
use rustls_pki_types::pem::{self, PemObject as _, SectionKind};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Why no pins came out of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// Not PEM at all, or nothing of use in it.
    #[error("no certificate found: expected PEM text with \"-----BEGIN CERTIFICATE-----\"")]
    NoCertificate,
    /// The file holds a private key where a certificate was wanted.
    #[error("this is a private key, not a certificate; give the CA's certificate (ca.crt)")]
    PrivateKey,
    /// A certificate in binary form.
    #[error("no PEM text but binary DER; convert it with: openssl x509 -inform der -in FILE")]
    Der,
    /// The PEM armour is broken.
    #[error("broken PEM text: {0}")]
    Pem(String),
    /// A block calls itself a certificate and is none.
    #[error("certificate {position} is broken: {reason}")]
    Certificate {
        /// Counted from 1, in file order.
        position: usize,
        /// What the parser said.
        reason: String,
    },
}

/// The pins of all certificates in PEM text, in file order. Text around the blocks and CRLF line ends are accepted,
/// other blocks are passed over, as kubeadm does.
pub fn pins_of_pem(text: &[u8]) -> Result<Vec<Pin>, PinError> {
    let mut pins = Vec::new();
    let mut key_seen = false;
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
        match section.map_err(|error| PinError::Pem(describe(&error)))? {
            (SectionKind::Certificate, der) => pins.push(pin_of_certificate(&der, pins.len() + 1)?),
            (kind, mut der) if is_private_key(kind) => {
                zeroize::Zeroize::zeroize(&mut der);
                key_seen = true;
            }
            _ => {}
        }
    }
    match pins.is_empty() {
        false => Ok(pins),
        true if key_seen => Err(PinError::PrivateKey),
        // A DER certificate is a SEQUENCE with a two-byte length.
        true if text.starts_with(&[0x30, 0x82]) => Err(PinError::Der),
        true => Err(PinError::NoCertificate),
    }
}

fn is_private_key(kind: SectionKind) -> bool {
    matches!(kind, SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey)
}

/// Words for a PEM error; the offending line itself stays out, it may be part of a key.
fn describe(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a block has no END line".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is malformed".to_owned(),
        pem::Error::Base64Decode(_) => "a block is not base64".to_owned(),
        _ => "not readable".to_owned(),
    }
}

fn pin_of_certificate(der: &[u8], position: usize) -> Result<Pin, PinError> {
    let broken = |reason: String| PinError::Certificate { position, reason };
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|error| broken(error.to_string()))?;
    if !rest.is_empty() {
        return Err(broken(format!("{} bytes follow it", rest.len())));
    }
    Ok(Pin::of_spki(certificate.public_key().raw))
}

#[cfg(test)]
mod tests {
    use super::super::vectors;
    use super::*;

    fn pins(text: &[u8]) -> Result<Vec<String>, PinError> {
        Ok(pins_of_pem(text)?.iter().map(ToString::to_string).collect())
    }

    /// `hash  ./path` and `hash  path#index` lines, the latter for members of bundles.
    fn hashes() -> Vec<(String, String, usize)> {
        let text = vectors::text("ca/HASHES.txt");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| {
                let (hash, path) = line.split_once("  ").unwrap();
                let (path, index) = path.split_once('#').unwrap_or((path, "0"));
                let path = path.trim_start_matches("./").to_owned();
                (hash.to_owned(), path, index.parse().unwrap())
            })
            .collect()
    }

    #[test]
    fn every_pin_equals_what_openssl_computes() {
        let hashes = hashes();
        assert_eq!(hashes.len(), 18);
        for (hash, path, index) in hashes {
            let found = pins(&vectors::bytes(&format!("ca/{path}"))).unwrap();
            assert_eq!(found[index], hash, "{path}#{index}");
        }
    }

    #[test]
    fn a_bundle_gives_one_pin_for_each_certificate_in_file_order() {
        let one = pins(&vectors::bytes("ca/openssl/bundle-root-intermediate.crt")).unwrap();
        let mut other = pins(&vectors::bytes("ca/openssl/bundle-intermediate-root.crt")).unwrap();
        assert_eq!(one.len(), 2);
        other.reverse();
        assert_eq!(one, other);
    }

    #[test]
    fn the_pin_survives_a_renewal_with_the_same_key() {
        assert_eq!(
            pins(&vectors::bytes("ca/openssl/req-rsa2048.crt")),
            pins(&vectors::bytes("ca/openssl/req-rsa2048-renewed.crt"))
        );
    }

    #[test]
    fn a_private_key_is_named_as_such() {
        for key in ["ca/openssl/req-p256.key", "cluster-rsa/pki/ca.key"] {
            assert_eq!(pins(&vectors::bytes(key)), Err(PinError::PrivateKey));
        }
    }

    #[test]
    fn a_key_beside_a_certificate_does_no_harm() {
        let mut both = vectors::bytes("ca/openssl/req-p256.key");
        both.extend(vectors::bytes("ca/openssl/req-p256.crt"));
        assert_eq!(pins(&both).unwrap().len(), 1);
    }

    #[test]
    fn anything_else_is_refused_with_a_reason() {
        assert_eq!(pins(b""), Err(PinError::NoCertificate));
        assert_eq!(pins(b"hello\n"), Err(PinError::NoCertificate));
        assert_eq!(pins(&[0x30, 0x82, 0x01, 0x00, 0xff]), Err(PinError::Der));
        let cut = vectors::text("ca/openssl/req-p256.crt").replace("-----END CERTIFICATE-----", "");
        assert_eq!(pins(cut.as_bytes()), Err(PinError::Pem("a block has no END line".into())));
        let fake = b"-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
        assert!(matches!(pins(fake), Err(PinError::Certificate { position: 1, .. })));
    }
}
