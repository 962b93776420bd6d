//! What is secret in a private key: its private numbers. Modulus, point and algorithm are in every certificate.

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// The private numbers of the first private key in a PEM text, or of one in DER (PKCS#8, PKCS#1, SEC1).
pub(super) fn of(key: &[u8]) -> Result<Vec<(&'static str, Vec<u8>)>> {
    match std::str::from_utf8(key) {
        Ok(text) if text.contains("-----BEGIN") => of_der(&der_of_pem(text)?),
        _ => of_der(key),
    }
}

fn der_of_pem(text: &str) -> Result<Vec<u8>> {
    let begin = text.lines().skip_while(|line| !(line.starts_with("-----BEGIN") && line.contains("PRIVATE KEY")));
    let body: String = begin.skip(1).take_while(|line| !line.starts_with("-----END")).map(str::trim).collect();
    ensure!(!body.is_empty(), "no private key in this PEM");
    STANDARD.decode(body).context("no base64 in this PEM")
}

fn of_der(der: &[u8]) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let (tag, content, _) = element(der)?;
    ensure!(tag == SEQUENCE, "no sequence");
    let parts = elements(content)?;
    let number = |at: usize| parts.get(at).map(|(_, bytes)| stripped(bytes)).context("numbers are missing");
    match parts.iter().map(|(tag, _)| *tag).collect::<Vec<_>>().as_slice() {
        // PKCS#8: version, algorithm, key.
        [INTEGER, SEQUENCE, OCTET_STRING, ..] => match element(parts[2].1)? {
            // Ed25519 and its kin: the seed.
            (OCTET_STRING, seed, _) => Ok(vec![("seed", seed.to_vec())]),
            _ => of_der(parts[2].1),
        },
        // SEC1: version, scalar.
        [INTEGER, OCTET_STRING, ..] => Ok(vec![("scalar", parts[1].1.to_vec())]),
        // PKCS#1: version, n, e, d, p, q, …
        [INTEGER, INTEGER, INTEGER, INTEGER, INTEGER, INTEGER, ..] => {
            Ok(vec![("exponent", number(3)?), ("first prime", number(4)?), ("second prime", number(5)?)])
        }
        other => bail!("no private key: {other:02x?}"),
    }
}

fn elements(mut der: &[u8]) -> Result<Vec<(u8, &[u8])>> {
    let mut found = Vec::new();
    while !der.is_empty() {
        let (tag, content, rest) = element(der)?;
        found.push((tag, content));
        der = rest;
    }
    Ok(found)
}

/// Tag, content and what follows of the first element.
fn element(der: &[u8]) -> Result<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first().context("no DER")?;
    let (&first, rest) = rest.split_first().context("no length")?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f)).context("no length")?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => bail!("a length that DER does not have"),
    };
    let (content, rest) = rest.split_at_checked(length).context("cut short")?;
    Ok((tag, content, rest))
}

/// A number without the zero that only keeps it positive.
fn stripped(number: &[u8]) -> Vec<u8> {
    number.strip_prefix(&[0]).unwrap_or(number).to_vec()
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PublicKeyData as _};

    use super::*;

    #[test]
    fn the_scalar_of_a_p256_key_is_found_and_is_not_public() {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        for form in [key.serialize_pem().into_bytes(), key.serialized_der().to_vec()] {
            let found = of(&form).unwrap();
            assert_eq!((found.len(), found[0].0, found[0].1.len()), (1, "scalar", 32));
            assert!(key.serialized_der().windows(32).any(|window| window == found[0].1));
            assert!(!key.subject_public_key_info().windows(32).any(|window| window == found[0].1));
        }
    }

    #[test]
    fn keys_as_kubeadm_and_openssl_write_them_have_material() {
        let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");
        for (file, numbers) in [
            ("cluster-rsa/pki/ca.key", 3),
            ("cluster-rsa/pki/sa.key", 3),
            ("ca/kubeadm-ecdsa-p256/pki/ca.key", 1),
            ("ca/openssl/req-ed25519.key", 1),
            ("ca/openssl/req-rsa2048.key", 3),
        ] {
            let text = std::fs::read(format!("{vectors}/{file}")).unwrap();
            let found = of(&text).unwrap_or_else(|error| panic!("{file}: {error:#}"));
            assert_eq!(found.len(), numbers, "{file}");
            assert!(found.iter().all(|(_, number)| number.len() >= 32), "{file}");
        }
    }

    #[test]
    fn what_is_no_private_key_is_an_error() {
        for bytes in
            [&b""[..], b"\x30", b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"-----BEGIN CERTIFICATE-----\nAAAA\n"]
        {
            assert!(of(bytes).is_err(), "{bytes:?}");
        }
    }
}
