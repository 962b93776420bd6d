use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn mk_seal_key(byte: u8) -> SealKey {
    SealKey::from_bytes(&[byte; 32]).unwrap()
}

fn mk_membership() -> Membership {
    Membership {
        server: 2,
        fleet: "f".into(),
        root: Bytes(vec![1]),
        intermediates: BTreeMap::from([("server".into(), Bytes(vec![2]))]),
        chain: vec![Bytes(vec![3]), Bytes(vec![2]), Bytes(vec![1])],
        servers: BTreeMap::from([(1, KnownServer { address: "192.0.2.1:9446".into(), enrolment_urls: Vec::new() })]),
    }
}

#[test]
fn an_identity_survives_the_disk_and_opens_with_its_seal_key_alone() {
    let home = tempfile::tempdir().unwrap();
    assert!(Identity::read(home.path()).unwrap().is_none());
    let (mut identity, private) = Identity::create(home.path(), mk_seal_key(1), Standing::Applicant).unwrap();
    identity.remember(Standing::Member(mk_membership())).unwrap();
    let again = Identity::read(home.path()).unwrap().unwrap();
    assert_eq!((again.membership(), again.fingerprint()), (Some(&mk_membership()), private.identity.fingerprint()));
    let opened = again.open(mk_seal_key(1)).unwrap();
    assert_eq!(opened.identity.pkcs8(), private.identity.pkcs8());
    assert_eq!(opened.own.sealing.public(), private.own.sealing.public());
    assert!(matches!(again.open(mk_seal_key(2)), Err(IdentityError::Seal(UnwrapError::WrongKey))));
}

#[test]
fn the_file_is_its_owners_alone_and_holds_no_key_in_the_clear() {
    let home = tempfile::tempdir().unwrap();
    let (_, private) = Identity::create(home.path(), mk_seal_key(1), Standing::Founder).unwrap();
    let path = home.path().join(FILE);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(path).unwrap();
    // The scalar of a P-256 key in PKCS#8 begins after 36 bytes.
    for secret in [&private.identity.pkcs8()[36..68], private.own.sealing.to_bytes().as_slice()] {
        let stored: Stored = serde_json::from_str(&text).unwrap();
        for kept in [stored.identity_key.0, stored.sealing_key.0, text.clone().into_bytes()] {
            assert!(!kept.windows(secret.len()).any(|window| window == secret));
        }
    }
    assert!(!format!("{private:?}").contains(&hex::encode(&private.identity.pkcs8()[36..68])));
}

#[test]
fn keys_of_another_server_put_into_the_file_are_refused() {
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut identity, _) = Identity::create(home.path(), mk_seal_key(1), Standing::Applicant).unwrap();
    let (stranger, _) = Identity::create(other.path(), mk_seal_key(1), Standing::Applicant).unwrap();
    identity.stored.sealing_key = stranger.stored.sealing_key;
    assert!(matches!(identity.open(mk_seal_key(1)), Err(IdentityError::Seal(UnwrapError::Altered))));
}

#[test]
fn the_keys_move_under_another_seal_key() {
    let home = tempfile::tempdir().unwrap();
    let (mut identity, private) = Identity::create(home.path(), mk_seal_key(1), Standing::Applicant).unwrap();
    let own = OwnKeys { seal: mk_seal_key(2), before: None, sealing: private.own.sealing };
    identity.keep_under(&private.identity, &own).unwrap();
    let again = Identity::read(home.path()).unwrap().unwrap();
    assert!(again.open(mk_seal_key(1)).is_err());
    assert_eq!(again.open(mk_seal_key(2)).unwrap().identity.pkcs8(), private.identity.pkcs8());
}

#[test]
fn a_damaged_file_is_refused_and_never_replaced() {
    let home = tempfile::tempdir().unwrap();
    for text in ["", "{}", "not json", r#"{"format":9}"#] {
        fs::write(home.path().join(FILE), text).unwrap();
        let error = Identity::read(home.path()).unwrap_err().to_string();
        assert!(error.contains("identity.json is damaged") && error.contains("muster server remove"), "{error}");
    }
}

#[test]
fn the_stored_form_of_format_1_never_changes() {
    let stored = Stored {
        format: 1,
        standing: Standing::Member(mk_membership()),
        fingerprint: Digest([7; 32]),
        identity_key: Bytes(vec![1, 2]),
        sealing_key: Bytes(vec![3, 4]),
    };
    let golden = concat!(
        r#"{"format":1,"standing":{"member":{"server":2,"fleet":"f","root":"AQ==","intermediates":{"server":"Ag=="},"#,
        r#""chain":["Aw==","Ag==","AQ=="],"servers":{"1":{"address":"192.0.2.1:9446","enrolment_urls":[]}}}},"#,
        r#""fingerprint":"0707070707070707070707070707070707070707070707070707070707070707","#,
        r#""identity_key":"AQI=","sealing_key":"AwQ="}"#
    );
    assert_eq!(serde_json::to_string(&stored).unwrap(), golden);
    assert_eq!(serde_json::to_string(&Standing::Applicant).unwrap(), r#""applicant""#);
    assert_eq!(serde_json::to_string(&Standing::Founder).unwrap(), r#""founder""#);
    serde_json::from_str::<Stored>(golden).unwrap();
}
