use std::path::Path;

use rustls_pki_types::PrivateKeyDer;

use super::*;
use crate::pki::import::{KeyReport, import, read_dir};

const NOW_MS: u64 = 1_800_000_000_000;

fn der(text: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(text.as_bytes()).unwrap()
}

/// A cluster's files as bytes, as they would lie in a directory.
fn as_directory(pki: &ClusterPki) -> BTreeMap<String, Vec<u8>> {
    pki.files.iter().map(|(name, file)| ((*name).to_owned(), file.expose().as_bytes().to_vec())).collect()
}

#[test]
fn a_cluster_made_ahead_has_exactly_the_files_that_control_planes_share() {
    let pki = ClusterPki::generate(KeyAlgorithm::EcdsaP256, NOW_MS).unwrap();
    let names: Vec<_> = pki.files.keys().copied().collect();
    let expected = [
        "ca.crt",
        "ca.key",
        "etcd/ca.crt",
        "etcd/ca.key",
        "front-proxy-ca.crt",
        "front-proxy-ca.key",
        "sa.key",
        "sa.pub",
    ];
    assert_eq!(names, expected);
    for (name, file) in &pki.files {
        let secret = matches!(file, PkiFile::Secret(_));
        assert_eq!(secret, name.ends_with(".key"), "{name}");
    }
}

/// What a certificate says, but for keys, serial number and dates.
#[derive(Debug, PartialEq)]
struct Shape {
    subject: String,
    issuer: String,
    has_key_identifier: bool,
    /// Object identifier, criticality and content.
    extensions: Vec<(String, bool, Vec<u8>)>,
}

fn shape(certificate: &CertificateDer<'_>) -> Shape {
    const KEY_IDENTIFIER: &str = "2.5.29.14";
    let parsed = certificate::parse(certificate).unwrap();
    let all = parsed.extensions().iter().map(|extension| {
        let oid = extension.oid.to_id_string();
        (oid, extension.critical, extension.value.to_vec())
    });
    // The identifier differs with the key; that there is one does not.
    let (identifiers, mut extensions): (Vec<_>, Vec<_>) = all.partition(|(oid, _, _)| oid == KEY_IDENTIFIER);
    extensions.sort();
    Shape {
        subject: parsed.subject().to_string(),
        issuer: parsed.issuer().to_string(),
        has_key_identifier: identifiers.len() == 1,
        extensions,
    }
}

#[test]
fn each_authority_says_what_kubeadms_own_says() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/ca/kubeadm-ecdsa-p256/pki");
    let golden = read_dir(&golden).unwrap();
    let pki = ClusterPki::generate(KeyAlgorithm::EcdsaP256, NOW_MS).unwrap();
    for authority in Authority::ALL {
        let name = authority.certificate_file();
        let (ours, theirs) = (der(pki.files[name].expose()), CertificateDer::from_pem_slice(&golden[name]).unwrap());
        assert_eq!(shape(&ours), shape(&theirs), "{name}");
        let (ours, theirs) = (certificate::parse(&ours).unwrap(), certificate::parse(&theirs).unwrap());
        assert_eq!(ours.signature_algorithm, theirs.signature_algorithm);
        ours.verify_signature(None).unwrap();
        let length = |(from_ms, until_ms): (u64, u64)| until_ms - from_ms;
        assert_eq!(length(certificate::dates_ms(&ours)), length(certificate::dates_ms(&theirs)));
        assert_eq!(certificate::dates_ms(&ours).0, NOW_MS - BACKDATE_MS);
    }
}

#[test]
fn what_was_made_can_be_imported_unchanged() {
    for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Rsa2048] {
        let pki = ClusterPki::generate(algorithm, NOW_MS).unwrap();
        let imported = import(&as_directory(&pki), NOW_MS).unwrap();
        assert_eq!(imported.pki, pki);
        assert!(imported.report.authorities.iter().all(|authority| authority.key == KeyReport::Present));
        assert!(imported.report.missing.is_empty());
    }
}

#[test]
fn keys_are_of_the_algorithm_asked_for_and_all_different() {
    for (algorithm, oid, bits) in
        [(KeyAlgorithm::Rsa2048, "1.2.840.113549.1.1.1", 2048), (KeyAlgorithm::EcdsaP256, "1.2.840.10045.2.1", 256)]
    {
        let pki = ClusterPki::generate(algorithm, NOW_MS).unwrap();
        let mut keys = std::collections::BTreeSet::new();
        for authority in Authority::ALL {
            let der = der(pki.files[authority.certificate_file()].expose());
            let parsed = certificate::parse(&der).unwrap();
            assert_eq!(parsed.public_key().algorithm.algorithm.to_id_string(), oid);
            assert_eq!(parsed.public_key().parsed().unwrap().key_size(), bits);
            keys.insert(pki.files[authority.key_file()].expose().to_owned());
        }
        keys.insert(pki.files[file::SA_KEY].expose().to_owned());
        assert_eq!(keys.len(), 4);
        for key in keys {
            assert!(matches!(PrivateKeyDer::from_pem_slice(key.as_bytes()), Ok(PrivateKeyDer::Pkcs8(_))));
        }
    }
}

#[test]
fn the_pins_are_known_before_any_machine_exists() {
    let pki = ClusterPki::generate(KeyAlgorithm::EcdsaP256, NOW_MS).unwrap();
    let expected = Pin::of_certificate(&der(pki.files[file::CA_CRT].expose())).unwrap();
    assert_eq!(pki.pins().unwrap(), [expected]);
}

#[test]
fn an_algorithm_has_kubeadms_word() {
    for algorithm in KeyAlgorithm::ALL {
        assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
    }
    assert_eq!("rsa-2048".parse::<KeyAlgorithm>(), Err(UnknownKeyAlgorithm));
}

#[test]
fn no_key_prints() {
    let pki = ClusterPki::generate(KeyAlgorithm::EcdsaP256, NOW_MS).unwrap();
    let shown = format!("{pki:?}");
    assert!(shown.contains("[redacted]") && !shown.contains("PRIVATE"), "{shown}");
}
