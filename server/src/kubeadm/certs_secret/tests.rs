use super::super::vectors;
use super::*;
use proptest::prelude::*;

fn key() -> CertificateKey {
    CertificateKey::parse(vectors::text("cluster-rsa/certificate-key").trim()).unwrap()
}

fn pki() -> Files {
    let files = EtcdTopology::Stacked.shared_files().iter();
    files
        .map(|file| {
            let path = format!("cluster-rsa/pki/{}", file.path.unwrap());
            (file.data_key.to_owned(), Zeroizing::new(vectors::bytes(&path)))
        })
        .collect()
}

#[test]
fn the_secret_that_kubeadm_uploaded_opens_to_its_files() {
    let secret = vectors::json("cluster-rsa/secret-kubeadm-certs.json");
    assert_eq!(open(EtcdTopology::Stacked, &secret, &key()).unwrap(), pki());
}

#[test]
fn our_secret_has_kubeadms_names_sizes_and_owner_and_opens_again() {
    let theirs = vectors::json("cluster-rsa/secret-kubeadm-certs.json");
    let owner = &theirs["metadata"]["ownerReferences"][0];
    let owner =
        Owner { name: owner["name"].as_str().unwrap().to_owned(), uid: owner["uid"].as_str().unwrap().to_owned() };
    let ours = generate_manifest(EtcdTopology::Stacked, &pki(), &key(), Some(&owner)).unwrap();
    for field in ["apiVersion", "kind", "type"] {
        assert_eq!(ours[field], theirs[field]);
    }
    assert_eq!(ours["metadata"]["ownerReferences"], theirs["metadata"]["ownerReferences"]);
    let sizes = |secret: &Value| -> BTreeMap<String, usize> {
        let data = secret["data"].as_object().unwrap();
        data.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().len())).collect()
    };
    assert_eq!(sizes(&ours), sizes(&theirs));
    assert_eq!(open(EtcdTopology::Stacked, &ours, &key()).unwrap(), pki());
}

#[test]
fn a_file_that_is_not_stored_is_an_empty_entry_and_not_a_missing_one() {
    let mut files = pki();
    files.remove("ca.key");
    files.insert("front-proxy-ca.key".into(), Zeroizing::new(vec![]));
    let secret = generate_manifest(EtcdTopology::Stacked, &files, &key(), None).unwrap();
    assert_eq!(secret["data"]["ca.key"], "");
    assert_eq!(secret["data"]["front-proxy-ca.key"], "");
    let opened = open(EtcdTopology::Stacked, &secret, &key()).unwrap();
    assert_eq!(opened.len(), 6);
}

#[test]
fn external_etcd_has_names_of_its_own() {
    let name = "external-etcd.key";
    let files = Files::from([(name.to_owned(), Zeroizing::new(b"k".to_vec()))]);
    let secret = generate_manifest(EtcdTopology::External, &files, &key(), None).unwrap();
    assert_eq!(secret["data"].as_object().unwrap().len(), 9);
    assert_eq!(open(EtcdTopology::External, &secret, &key()).unwrap(), files);
    let error = generate_manifest(EtcdTopology::Stacked, &files, &key(), None).unwrap_err();
    assert_eq!(error, CertsSecretError::ForeignFile(name.into()));
}

#[test]
fn another_key_a_missing_entry_and_garbage_are_told_apart() {
    let open = |secret: &Value, key: &CertificateKey| open(EtcdTopology::Stacked, secret, key).unwrap_err();
    let mut secret = vectors::json("cluster-rsa/secret-kubeadm-certs.json");
    let other = CertificateKey::generate().unwrap();
    assert_eq!(open(&secret, &other), CertsSecretError::WrongKey("ca.crt".into()));
    for garbage in ["***", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAA"] {
        secret["data"]["sa.pub"] = garbage.into();
        assert_eq!(open(&secret, &key()), CertsSecretError::Malformed("sa.pub".into()));
    }
    secret["data"].as_object_mut().unwrap().remove("sa.pub");
    assert_eq!(open(&secret, &key()), CertsSecretError::Missing("sa.pub".into()));
}

#[test]
fn two_uploads_never_share_a_nonce() {
    let upload = || generate_manifest(EtcdTopology::Stacked, &pki(), &key(), None).unwrap();
    let mut nonces = std::collections::BTreeSet::new();
    for secret in [upload(), upload()] {
        for value in secret["data"].as_object().unwrap().values() {
            let sealed = STANDARD.decode(value.as_str().unwrap()).unwrap();
            assert!(nonces.insert(sealed[..NONCE_LEN].to_vec()));
        }
    }
}

proptest! {
    #[test]
    fn every_file_survives_and_every_flipped_bit_is_noticed(plain in proptest::collection::vec(any::<u8>(), 1..200), bit: usize) {
        let key = key();
        let mut sealed = generate_encrypted(&plain, &key).unwrap();
        prop_assert_eq!(&*decrypt("n", &sealed, &key).unwrap(), &plain);
        let bit = bit % (sealed.len() * 8);
        sealed[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(decrypt("n", &sealed, &key), Err(CertsSecretError::WrongKey("n".into())));
    }
}
