use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType,
};

use super::*;

const NODE: &str = "node-7";

/// Parameters of a request that asks for nothing.
fn mk_plain() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
}

fn mk_request(params: &CertificateParams) -> Result<CertificateRequest, RequestError> {
    let key = KeyPair::generate().unwrap();
    CertificateRequest::parse(params.serialize_request(&key).unwrap().der())
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

#[test]
fn a_request_that_asks_for_more_is_refused_with_the_reason() {
    let refused = |change: fn(&mut CertificateParams)| {
        let mut params = mk_plain();
        change(&mut params);
        mk_request(&params).unwrap_err()
    };
    let ca = refused(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    assert_eq!(ca, RequestError::Authority);
    let both = refused(|params| {
        params.subject_alt_names = vec![uri("spiffe://f/node/n")];
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    assert_eq!(both, RequestError::Authority);
    let usage = refused(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    assert_eq!(usage, RequestError::Extension { oid: "2.5.29.37".to_owned() });
    let sign = refused(|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign]);
    assert_eq!(sign, RequestError::Extension { oid: "2.5.29.15".to_owned() });
    let dns = refused(|params| params.subject_alt_names = vec![SanType::DnsName("api.example".try_into().unwrap())]);
    assert_eq!(dns, RequestError::Names);
    let ip = refused(|params| params.subject_alt_names = vec![SanType::IpAddress([192, 0, 2, 1].into())]);
    assert_eq!(ip, RequestError::Names);
    let two = refused(|params| params.subject_alt_names = vec![uri("spiffe://f/node/n"), uri("spiffe://f/node/m")]);
    assert_eq!(two, RequestError::Names);
    let organisation = refused(|params| params.distinguished_name.push(DnType::OrganizationName, "system:masters"));
    assert_eq!(organisation, RequestError::Subject);
    let more = refused(|params| {
        params.distinguished_name.push(DnType::CommonName, NODE);
        params.distinguished_name.push(DnType::OrganizationName, "system:masters");
    });
    assert_eq!(more, RequestError::Subject);
}

#[test]
fn a_request_with_a_foreign_attribute_is_refused() {
    let key = KeyPair::generate().unwrap();
    // A challenge password, RFC 2985: SET { UTF8String "x" }.
    let values = vec![0x31, 0x03, 0x0c, 0x01, b'x'];
    let attribute = rcgen::Attribute { oid: &[1, 2, 840, 113_549, 1, 9, 7], values };
    let request = mk_plain().serialize_request_with_attributes(&key, vec![attribute]).unwrap();
    assert_eq!(CertificateRequest::parse(request.der()).unwrap_err(), RequestError::Attribute);
}

#[test]
fn a_request_for_another_kind_of_key_is_refused() {
    for algorithm in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let request = mk_plain().serialize_request(&key).unwrap();
        assert_eq!(CertificateRequest::parse(request.der()).unwrap_err(), RequestError::Key);
    }
}

#[test]
fn a_request_for_a_key_that_the_requester_does_not_hold_is_refused() {
    let own = KeyPair::generate().unwrap();
    let request = mk_plain().serialize_request(&own).unwrap();
    let other = KeyPair::generate().unwrap();
    let mut der = request.der().to_vec();
    let spki = own.subject_public_key_info();
    let place = der.windows(spki.len()).position(|window| window == spki).unwrap();
    der[place..place + spki.len()].copy_from_slice(&other.subject_public_key_info());
    assert_eq!(CertificateRequest::parse(&der).unwrap_err(), RequestError::Signature);
}

#[test]
fn bytes_that_are_no_request_are_refused() {
    let whole = mk_plain().serialize_request(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
    for end in 0..whole.len() {
        assert_eq!(CertificateRequest::parse(&whole[..end]).unwrap_err(), RequestError::Unreadable);
    }
    let longer = [whole.as_slice(), &[0]].concat();
    assert_eq!(CertificateRequest::parse(&longer).unwrap_err(), RequestError::Unreadable);
    assert_eq!(CertificateRequest::parse(&[0; 4097]).unwrap_err(), RequestError::TooLong);
}

#[test]
fn a_machine_that_enrols_may_name_nobody() {
    assert_eq!(mk_request(&mk_plain()).unwrap().check_nameless(), Ok(()));
    let mut named = mk_plain();
    named.distinguished_name.push(DnType::CommonName, NODE);
    assert_eq!(mk_request(&named).unwrap().check_nameless(), Err(RequestError::EarlyName));
    let mut identified = mk_plain();
    identified.subject_alt_names = vec![uri("spiffe://f/node/n")];
    assert_eq!(mk_request(&identified).unwrap().check_nameless(), Err(RequestError::EarlyName));
}
