use muster_state::{
    ClusterId, TokenId,
    command::CreateCluster,
    record::{CaCertificate, Origin},
};
use muster_trust::sealing::SealingPrivateKey;

use super::*;
use crate::{
    api::fixture::{NOW_MS, mk_spec},
    backup::Head,
    operations::{
        found_fleet,
        keyring::{self, Keys},
    },
    pki::LeafTerms,
    seal::OwnKeys,
};

const LATER_MS: u64 = NOW_MS + 90 * 86_400_000;
const CLUSTER: &str = "c1";
const TOKEN: &str = "abcdef";

fn mk_seal_key(byte: u8) -> SealKey {
    SealKey::from_bytes(&[byte; 32]).unwrap()
}

fn keys_of(state: &State, seal: SealKey, server: u64) -> Keys {
    let own = OwnKeys { seal, before: None, sealing: SealingPrivateKey::generate().unwrap() };
    keyring::open(state.fleet.as_ref().unwrap(), &own, server).unwrap().unwrap()
}

/// What a backup of a fleet with one cluster holds.
pub(crate) fn mk_contents() -> Contents {
    let mut state = State::default();
    state.apply_verb(NOW_MS, found_fleet::make(&mk_seal_key(1), 1, NOW_MS).unwrap()).unwrap();
    let keys = keys_of(&state, mk_seal_key(1), 1);
    let (cluster, token) = (ClusterId::from(CLUSTER), TokenId::from(TOKEN));
    let seal = |secret: Secret<'_>, plain: &str| secret.seal(&keys.sealer, 1, plain.as_bytes()).unwrap();
    let create = CreateCluster {
        id: cluster.clone(),
        spec: mk_spec(),
        origin: Origin::Created,
        certificates: vec![CaCertificate { name: "ca.crt".into(), pem: String::new(), pins: vec![], not_after_ms: 1 }],
        service_account_public: String::new(),
        keys: BTreeMap::from([("ca.key".to_owned(), seal(Secret::ClusterKey(&cluster, "ca.key"), "the CA key"))]),
        certificate_key: seal(Secret::CertificateKey(&cluster), "the certificate key"),
        first_token: Some((token.clone(), seal(Secret::BootstrapToken(&cluster, &token), "the token"))),
        first_token_ttl_ms: 1,
        credentials: None,
        workers_only: String::new(),
    };
    state.apply_verb(NOW_MS, create).unwrap();
    let head =
        Head { fleet: state.fleet.as_ref().unwrap().id.to_string(), made_ms: NOW_MS, index: 3, version: String::new() };
    let keys = keys.sealer.epochs().map(|epoch| keys.sealer.data_key(epoch).unwrap().clone()).collect();
    Contents { head, keys, state }
}

#[test]
fn the_new_fleet_opens_every_secret_with_its_own_key_and_the_old_keys_open_none() {
    let contents = mk_contents();
    let old = Sealer::new(&contents.head.fleet, contents.keys.clone()).unwrap();
    let old_id = contents.head.fleet.clone();
    let restored = make(contents, &mk_seal_key(2), 7, LATER_MS).unwrap();
    assert_eq!(restored.old_fleet, old_id);
    assert_ne!(restored.fleet.as_str(), old_id);
    let keys = keys_of(&restored.state, mk_seal_key(2), 7);
    let mut opened = 0;
    for (name, secret) in restored.state.secrets() {
        let plain = Secret::from(&name).open(&keys.sealer, secret).unwrap();
        let expected = match name {
            SecretName::ClusterKey(..) => &b"the CA key"[..],
            SecretName::CertificateKey(_) => b"the certificate key",
            SecretName::Credentials(_) => b"the kubeconfig",
            SecretName::BootstrapToken(..) => b"the token",
            SecretName::FleetKey(_) => &plain,
        };
        assert_eq!(plain.as_slice(), expected, "{name}");
        assert!(Secret::from(&name).open(&old, secret).is_err(), "{name} opens with the old keys");
        opened += 1;
    }
    assert_eq!(opened, 4 + 3);
}

#[test]
fn machines_know_the_new_fleet_by_the_old_pin() {
    let contents = mk_contents();
    let before = keyring::anchors(contents.state.fleet.as_ref().unwrap()).unwrap().pin().unwrap().to_string();
    let restored = make(contents, &mk_seal_key(2), 1, LATER_MS).unwrap();
    assert_eq!(restored.pin, before);
    let keys = keys_of(&restored.state, mk_seal_key(2), 1);
    let identity = keys.pki.issue(&LeafTerms::server("1", Vec::new()), LATER_MS).unwrap();
    let anchor = muster_trust::Anchor::Pin(before.parse().unwrap());
    let at = rustls_pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_millis(LATER_MS));
    let chain = &identity.certified.chain;
    let peer = muster_trust::ServerVerifier::new(anchor).check(&chain[0], &chain[1..], at).unwrap();
    assert_eq!(peer.spiffe.fleet(), restored.fleet.as_str());
}

#[test]
fn the_old_root_key_signs_the_next_intermediates_too() {
    let restored = make(mk_contents(), &mk_seal_key(2), 1, LATER_MS).unwrap();
    let keys = keys_of(&restored.state, mk_seal_key(2), 1);
    let fleet = restored.state.fleet.as_ref().unwrap();
    let root = Secret::FleetKey("root").open(&keys.sealer, &fleet.keys["root"]).unwrap();
    Authority::from_parts(CertificateDer::from(fleet.root.0.clone()), &SecretBytes::from(root)).unwrap();
}

#[test]
fn keys_that_do_not_open_a_secret_stop_the_restore_and_name_it() {
    let mut contents = mk_contents();
    contents.keys = vec![DataKey::generate(1).unwrap()];
    let error = make(contents, &mk_seal_key(2), 1, LATER_MS).unwrap_err();
    assert!(format!("{error:#}").contains("FleetKey(\"root\")"), "{error:#}");
    let mut contents = mk_contents();
    let cluster = contents.state.clusters.values_mut().next().unwrap();
    cluster.certificate_key.revision += 1;
    let error = make(contents, &mk_seal_key(2), 1, LATER_MS).unwrap_err();
    assert!(format!("{error:#}").contains("certificate key of cluster c1"), "{error:#}");
}
