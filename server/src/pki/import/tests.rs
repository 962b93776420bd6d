use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyUsagePurpose};

use super::*;

/// 2027-01-15, some weeks after the vectors were made.
const NOW_MS: u64 = 1_800_000_000_000;

fn vectors(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(path)
}

fn bytes(path: &str) -> Vec<u8> {
    std::fs::read(vectors(path)).unwrap()
}

fn kubeadm() -> BTreeMap<String, Vec<u8>> {
    read_dir(&vectors("cluster-rsa/pki")).unwrap()
}

/// A directory with these files alone.
fn only(files: &[(&str, Vec<u8>)]) -> BTreeMap<String, Vec<u8>> {
    files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect()
}

fn problems(files: &BTreeMap<String, Vec<u8>>, now_ms: u64) -> Vec<(&'static str, Problem)> {
    let error = import(files, now_ms).unwrap_err();
    error.problems.into_iter().map(|found| (found.file, found.problem)).collect()
}

#[test]
fn a_pki_of_kubeadm_is_kept_byte_for_byte() {
    for directory in ["cluster-rsa/pki", "ca/kubeadm-ecdsa-p256/pki"] {
        let files = read_dir(&vectors(directory)).unwrap();
        assert_eq!(files.len(), 22);
        let imported = import(&files, NOW_MS).unwrap();
        assert_eq!(imported.pki.files.len(), 8);
        for (name, kept) in &imported.pki.files {
            assert_eq!(kept.expose().as_bytes(), files[*name], "{directory}/{name}");
            assert_eq!(matches!(kept, PkiFile::Secret(_)), name.ends_with(".key"));
        }
        let report = imported.report;
        assert_eq!(report.machine.len(), 14);
        assert!(report.unknown.is_empty() && report.missing.is_empty());
        assert!(report.authorities.iter().all(|found| found.key == KeyReport::Present));
        let authorities: Vec<_> = report.authorities.iter().map(|found| found.authority).collect();
        assert_eq!(authorities, Authority::ALL);
    }
}

#[test]
fn the_reported_pin_is_the_one_that_openssl_computes() {
    let hashes = String::from_utf8(bytes("ca/HASHES.txt")).unwrap();
    let of = |name: &str| hashes.lines().find(|line| line.ends_with(name)).unwrap().split(' ').next().unwrap();
    for algorithm in ["rsa-2048", "rsa-3072", "rsa-4096", "ecdsa-p256"] {
        let name = format!("kubeadm-{algorithm}/pki/ca.crt");
        let imported = import(&only(&[("ca.crt", bytes(&format!("ca/{name}")))]), NOW_MS).unwrap();
        let certificate = &imported.report.authorities[0].certificates[0];
        assert_eq!(certificate.pin.to_string(), of(&name));
        assert_eq!(certificate.subject, "CN=kubernetes");
        assert!(!certificate.expires_soon);
        assert_eq!(imported.pki.pins().unwrap(), [certificate.pin]);
    }
}

#[test]
fn keys_in_every_form_that_kubeadm_reads_are_accepted() {
    for (certificate, key, label) in [
        ("cluster-rsa/pki/ca.crt", "cluster-rsa/pki/ca.key", "RSA PRIVATE KEY"),
        ("ca/kubeadm-ecdsa-p256/pki/ca.crt", "ca/kubeadm-ecdsa-p256/pki/ca.key", "EC PRIVATE KEY"),
        ("ca/openssl/req-rsa2048.crt", "ca/openssl/req-rsa2048.key", "PRIVATE KEY"),
        ("ca/openssl/req-p256.crt", "ca/openssl/req-p256.key", "PRIVATE KEY"),
        ("ca/openssl/req-ed25519.crt", "ca/openssl/req-ed25519.key", "PRIVATE KEY"),
        ("ca/openssl/req-rsa2048-crlf.crt", "ca/openssl/req-rsa2048.key", "PRIVATE KEY"),
        ("ca/openssl/req-rsa2048-with-text.crt", "ca/openssl/req-rsa2048.key", "PRIVATE KEY"),
        ("ca/openssl/intermediate.crt", "ca/openssl/intermediate.key", "PRIVATE KEY"),
    ] {
        let files = only(&[("ca.crt", bytes(certificate)), ("ca.key", bytes(key))]);
        let imported = import(&files, NOW_MS).unwrap();
        assert_eq!(imported.report.authorities[0].key, KeyReport::Present, "{key}");
        assert!(imported.pki.files["ca.key"].expose().starts_with(&format!("-----BEGIN {label}-----\n")));
        let kept = imported.pki.files["ca.crt"].expose();
        assert!(kept.starts_with("-----BEGIN CERTIFICATE-----\n") && !kept.contains('\r'));
    }
}

#[test]
fn in_a_bundle_the_first_certificate_signs_and_each_has_a_pin() {
    let bundle = bytes("ca/openssl/bundle-intermediate-root.crt");
    let good = only(&[("ca.crt", bundle.clone()), ("ca.key", bytes("ca/openssl/intermediate.key"))]);
    let imported = import(&good, NOW_MS).unwrap();
    assert_eq!(imported.report.authorities[0].certificates.len(), 2);
    assert_eq!(imported.pki.pins().unwrap().len(), 2);
    let wrong = only(&[("ca.crt", bundle), ("ca.key", bytes("ca/openssl/root.key"))]);
    assert_eq!(problems(&wrong, NOW_MS), [("ca.key", Problem::KeyOfAnother { certificate_file: "ca.crt" })]);
}

#[test]
fn an_authority_without_its_key_is_external() {
    let mut files = kubeadm();
    files.remove("ca.key");
    let imported = import(&files, NOW_MS).unwrap();
    assert_eq!(imported.report.authorities[0].key, KeyReport::External);
    assert_eq!(imported.report.authorities[1].key, KeyReport::Present);
    assert!(!imported.pki.files.contains_key("ca.key"));
    assert!(imported.report.missing.is_empty());
}

#[test]
fn the_authoritys_certificate_alone_is_enough_and_the_rest_is_named_as_missing() {
    let imported = import(&only(&[("ca.crt", bytes("cluster-rsa/pki/ca.crt"))]), NOW_MS).unwrap();
    let missing = ["front-proxy-ca.crt", "front-proxy-ca.key", "etcd/ca.crt", "etcd/ca.key", "sa.key", "sa.pub"];
    assert_eq!(imported.report.missing, missing);
}

#[test]
fn files_that_kubeadm_does_not_make_are_named_and_left_alone() {
    let mut files = kubeadm();
    files.insert("ca.srl".to_owned(), b"01".to_vec());
    files.insert("etcd/notes.txt".to_owned(), b"x".to_vec());
    let report = import(&files, NOW_MS).unwrap().report;
    assert_eq!(report.unknown, ["ca.srl", "etcd/notes.txt"]);
}

#[test]
fn a_lost_public_half_is_made_from_the_key() {
    let mut files = kubeadm();
    let public = files.remove("sa.pub").unwrap();
    let imported = import(&files, NOW_MS).unwrap();
    assert_eq!(imported.pki.files["sa.pub"].expose().as_bytes(), public);
    files.remove("sa.key");
    files.insert("sa.pub".to_owned(), public);
    assert_eq!(import(&files, NOW_MS).unwrap().report.missing, ["sa.key"]);
}

#[test]
fn keys_that_do_not_belong_together_are_refused() {
    let mut files = kubeadm();
    let etcd = files["etcd/ca.key"].clone();
    files.insert("ca.key".to_owned(), etcd.clone());
    files.insert("sa.key".to_owned(), etcd);
    let found = problems(&files, NOW_MS);
    let of_another = Problem::KeyOfAnother { certificate_file: "ca.crt" };
    assert_eq!(found, [("ca.key", of_another), ("sa.pub", Problem::PublicKeyOfAnother { key_file: "sa.key" })]);
    let text = import(&files, NOW_MS).unwrap_err().to_string();
    assert_eq!(
        text,
        "ca.key: is not the key of the first certificate in ca.crt; sa.pub: is not the public half of sa.key"
    );
}

#[test]
fn a_missing_authority_or_a_key_alone_is_refused() {
    assert_eq!(problems(&BTreeMap::new(), NOW_MS), [("ca.crt", Problem::Missing)]);
    let mut files = kubeadm();
    files.remove("etcd/ca.crt");
    let alone = Problem::KeyWithoutCertificate { certificate_file: "etcd/ca.crt" };
    assert_eq!(problems(&files, NOW_MS), [("etcd/ca.key", alone)]);
}

#[test]
fn an_expired_authority_is_refused_and_one_about_to_expire_is_marked() {
    // Valid until 2027-03-02.
    let renewed = only(&[("ca.crt", bytes("ca/openssl/req-rsa2048-renewed.crt"))]);
    assert!(import(&renewed, NOW_MS).unwrap().report.authorities[0].certificates[0].expires_soon);
    let year_ms = 365 * DAY_MS;
    assert_eq!(problems(&renewed, NOW_MS + year_ms), [("ca.crt", Problem::Expired { days: 319 })]);
    let early = problems(&renewed, NOW_MS - year_ms);
    assert!(matches!(early.as_slice(), [("ca.crt", Problem::NotYetValid { .. })]), "{early:?}");
}

fn mk_certificate(change: fn(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    change(&mut params);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem().into_bytes()
}

#[test]
fn a_certificate_that_may_not_sign_is_refused() {
    let leaf = only(&[("ca.crt", bytes("cluster-rsa/pki/apiserver.crt"))]);
    assert_eq!(problems(&leaf, NOW_MS), [("ca.crt", Problem::NotAnAuthority)]);
    let no_sign = mk_certificate(|params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    });
    assert_eq!(problems(&only(&[("ca.crt", no_sign)]), NOW_MS), [("ca.crt", Problem::MayNotSign)]);
    let unrestricted = mk_certificate(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    import(&only(&[("ca.crt", unrestricted.clone())]), NOW_MS).unwrap();
    // Also as the second of a bundle.
    let leaf = bytes("cluster-rsa/pki/apiserver.crt");
    let bundle = only(&[("ca.crt", [unrestricted, leaf].concat())]);
    assert_eq!(problems(&bundle, NOW_MS), [("ca.crt", Problem::NotAnAuthority)]);
}

#[test]
fn files_that_cannot_be_read_are_named_without_their_content() {
    let ca = bytes("cluster-rsa/pki/ca.crt");
    let broken = b"-----BEGIN CERTIFICATE-----\ncanary!\n-----END CERTIFICATE-----\n".to_vec();
    let unknown = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec();
    let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n".to_vec();
    let unusable = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_vec();
    for (certificate, key, name, expected) in [
        (broken.clone(), None, "ca.crt", Problem::NotPem),
        (unknown, None, "ca.crt", Problem::NotACertificate),
        (vec![], None, "ca.crt", Problem::NoCertificate),
        (b"canary".to_vec(), None, "ca.crt", Problem::NoCertificate),
        (vec![b'a'; 65537], None, "ca.crt", Problem::TooLong { bytes_max: 65536 }),
        (ca.repeat(17), None, "ca.crt", Problem::TooManyCertificates { max: 16 }),
        (ca.clone(), Some(b"canary".to_vec()), "ca.key", Problem::NotAKey),
        (ca.clone(), Some(encrypted), "ca.key", Problem::EncryptedKey),
        (ca.clone(), Some(unusable), "ca.key", Problem::UnusableKey),
        (ca.clone(), Some(ca.clone()), "ca.key", Problem::NotAKey),
    ] {
        let mut files = only(&[("ca.crt", certificate)]);
        files.extend(key.map(|key| ("ca.key".to_owned(), key)));
        let error = import(&files, NOW_MS).unwrap_err();
        assert_eq!(error.problems, [FileProblem { file: name, problem: expected }]);
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
    let mut files = kubeadm();
    files.insert("sa.pub".to_owned(), broken);
    assert_eq!(problems(&files, NOW_MS), [("sa.pub", Problem::NotAPublicKey)]);
    files.insert("sa.key".to_owned(), vec![]);
    assert_eq!(problems(&files, NOW_MS), [("sa.key", Problem::NotAKey)]);
}

#[test]
fn a_directory_that_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let gone = directory.path().join("gone");
    let error = read_dir(&gone).unwrap_err();
    assert!(error.to_string().contains("gone"), "{error}");
    std::fs::write(directory.path().join("ca.crt"), vec![b'a'; 100_000]).unwrap();
    std::fs::create_dir(directory.path().join("other")).unwrap();
    std::fs::write(directory.path().join("other/ca.key"), b"x").unwrap();
    let files = read_dir(directory.path()).unwrap();
    assert_eq!(files.keys().collect::<Vec<_>>(), ["ca.crt"]);
    assert_eq!(problems(&files, NOW_MS), [("ca.crt", Problem::TooLong { bytes_max: 65536 })]);
    for i in 0..256 {
        std::fs::write(directory.path().join(format!("file-{i}")), b"").unwrap();
    }
    assert!(read_dir(directory.path()).unwrap_err().to_string().contains("256"));
}
