use std::time::Duration;

use muster_trust::{Anchor, Peer, Pin, ServerVerifier, VerifyError};
use rcgen::{CertificateParams, DistinguishedName, DnType, SanType};
use rustls_pki_types::UnixTime;

use super::*;
use crate::pki::issue::{LeafTerms, NODE_LIFETIME_MS, SERVER_LIFETIME_MS};
use crate::pki::request::{CertificateRequest, RequestError};

const FLEET: &str = "4f1c9c5e-0b1c-4a57-9a0e-6a1f2f0d3b7c";
const NOW_MS: u64 = 1_800_000_000_999;
const NODE: &str = "node-7";

fn at(ms: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_millis(ms))
}

fn mk_fleet() -> FleetPki {
    FleetPki::generate(FLEET, NOW_MS).unwrap().pki
}

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
fn a_server_that_the_fleet_issued_is_believed_by_whoever_knows_the_pin() {
    let fleet = mk_fleet();
    let names = vec!["muster.example.org".to_owned(), "192.0.2.1".to_owned(), "2001:db8::1".to_owned()];
    let issued = fleet.issue(&LeafTerms::server("1", names), NOW_MS).unwrap();
    let chain = &issued.certified.chain;
    let verifier = ServerVerifier::new(Anchor::Pin(fleet.anchors().unwrap().pin().unwrap())).expecting_fleet(FLEET);
    let peer = verifier.check(&chain[0], &chain[1..], at(NOW_MS)).unwrap();
    assert_eq!(peer.spiffe.to_string(), format!("spiffe://{FLEET}/server/1"));
    assert_eq!(peer.not_before_ms, 1_800_000_000_000 - BACKDATE_MS);
    assert_eq!(peer.not_after_ms, 1_800_000_000_000 + SERVER_LIFETIME_MS);
    assert_eq!(
        (peer.not_before_ms, peer.not_after_ms),
        (issued.certified.not_before_ms, issued.certified.not_after_ms)
    );
    // The leaf may be both ends of a connection between servers.
    let admitted = fleet.anchors().unwrap().role_verifier(Role::Server).unwrap().check(&chain[0], at(NOW_MS)).unwrap();
    assert_eq!(admitted, peer);
    muster_trust::server_config(issued.to_tls(), None).unwrap();
    let parsed = certificate::parse(&chain[0]).unwrap();
    let names = parsed.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names.len(), 4);
}

#[test]
fn a_node_gets_a_day_and_only_its_own_listener() {
    let fleet = mk_fleet();
    let request = mk_request(&mk_plain()).unwrap();
    let certified = fleet.certify(&request, &LeafTerms::node(NODE), NOW_MS).unwrap();
    let verifier = fleet.anchors().unwrap().role_verifier(Role::Node).unwrap();
    let peer = verifier.check(&certified.chain[0], at(NOW_MS)).unwrap();
    assert_eq!(peer.spiffe.to_string(), format!("spiffe://{FLEET}/node/{NODE}"));
    assert_eq!(peer.spki_fingerprint, request.pin());
    assert_eq!(peer.not_after_ms, 1_800_000_000_000 + NODE_LIFETIME_MS);
    let late = verifier.check(&certified.chain[0], at(peer.not_after_ms + 1000));
    assert!(matches!(late, Err(VerifyError::Expired { .. })));
    for other in [Role::Server, Role::Operator] {
        assert!(fleet.anchors().unwrap().role_verifier(other).unwrap().check(&certified.chain[0], at(NOW_MS)).is_err());
    }
    let as_server = ServerVerifier::new(Anchor::Root(fleet.root().clone()));
    assert!(as_server.check(&certified.chain[0], &certified.chain[1..], at(NOW_MS)).is_err());
}

#[test]
fn an_operator_gets_a_year_and_only_the_operators_listener() {
    let fleet = mk_fleet();
    let issued = fleet.issue(&LeafTerms::operator("admin"), NOW_MS).unwrap();
    let leaf = &issued.certified.chain[0];
    let peer = fleet.anchors().unwrap().role_verifier(Role::Operator).unwrap().check(leaf, at(NOW_MS)).unwrap();
    assert_eq!(peer.spiffe.role(), Role::Operator);
    assert_eq!(peer.not_after_ms - 1_800_000_000_000, 365 * 24 * 3600 * 1000);
    assert!(fleet.anchors().unwrap().role_verifier(Role::Node).unwrap().check(leaf, at(NOW_MS)).is_err());
}

#[test]
fn a_request_may_name_its_own_identity() {
    let fleet = mk_fleet();
    let mut params = mk_plain();
    params.distinguished_name.push(DnType::CommonName, NODE);
    params.subject_alt_names = vec![uri(&format!("spiffe://{FLEET}/node/{NODE}"))];
    let request = mk_request(&params).unwrap();
    fleet.certify(&request, &LeafTerms::node(NODE), NOW_MS).unwrap();
}

#[test]
fn a_request_that_names_somebody_else_is_refused() {
    let fleet = mk_fleet();
    let refused = |params: &CertificateParams| match fleet.certify(
        &mk_request(params).unwrap(),
        &LeafTerms::node(NODE),
        NOW_MS,
    ) {
        Err(PkiError::Request(error)) => error,
        other => panic!("{other:?}"),
    };
    let mut subject = mk_plain();
    subject.distinguished_name.push(DnType::CommonName, "node-8");
    assert_eq!(refused(&subject), RequestError::OtherSubject { id: NODE.to_owned() });
    for other in ["node/node-8", "server/node-7", "operator/node-7"] {
        let mut params = mk_plain();
        params.subject_alt_names = vec![uri(&format!("spiffe://{FLEET}/{other}"))];
        let identity = format!("spiffe://{FLEET}/node/{NODE}");
        assert_eq!(refused(&params), RequestError::OtherIdentity { identity });
    }
}

#[test]
fn terms_that_cannot_be_met_are_refused() {
    let fleet = mk_fleet();
    let mut terms = LeafTerms::node(NODE);
    terms.names = vec!["api.example".to_owned()];
    assert!(matches!(fleet.issue(&terms, NOW_MS), Err(PkiError::NamesForRole { role: Role::Node })));
    let terms = LeafTerms::server("1", vec!["not a name".to_owned()]);
    assert!(matches!(fleet.issue(&terms, NOW_MS), Err(PkiError::Name { .. })));
    assert!(matches!(fleet.issue(&LeafTerms::node("Not/an id"), NOW_MS), Err(PkiError::Identity(_))));
    let mut terms = LeafTerms::node(NODE);
    terms.lifetime_ms = 999;
    assert!(matches!(fleet.issue(&terms, NOW_MS), Err(PkiError::Lifetime)));
    assert!(matches!(FleetPki::generate("Not a fleet", NOW_MS), Err(PkiError::Identity(_))));
    assert!(matches!(FleetPki::generate(FLEET, u64::MAX), Err(PkiError::Time { .. })));
}

#[test]
fn an_id_too_long_for_a_common_name_is_certified_without_one() {
    let fleet = mk_fleet();
    let id = "n".repeat(65);
    let certified = fleet.issue(&LeafTerms::node(&id), NOW_MS).unwrap().certified;
    let peer =
        fleet.anchors().unwrap().role_verifier(Role::Node).unwrap().check(&certified.chain[0], at(NOW_MS)).unwrap();
    assert_eq!(peer.spiffe.id(), id);
    let parsed = certificate::parse(&certified.chain[0]).unwrap();
    assert_eq!(parsed.subject().iter().count(), 0);
}

#[test]
fn nothing_outlives_its_authority_or_is_issued_outside_its_dates() {
    let fleet = mk_fleet();
    let (from_ms, until_ms) = fleet.authority(Role::Node).dates_ms();
    let last = fleet.issue(&LeafTerms::node(NODE), until_ms - 60_000).unwrap().certified;
    assert_eq!(last.not_after_ms, until_ms);
    let first = fleet.issue(&LeafTerms::node(NODE), from_ms).unwrap().certified;
    assert_eq!(first.not_before_ms, from_ms);
    for now_ms in [until_ms, from_ms - 1] {
        let refused = fleet.issue(&LeafTerms::node(NODE), now_ms);
        assert!(matches!(refused, Err(PkiError::AuthorityDates { role: Role::Node })));
    }
}

#[test]
fn the_authorities_live_ten_years_and_bind_each_level() {
    let fleet = mk_fleet();
    for (der, below) in [
        (fleet.root(), 1),
        (fleet.authority(Role::Server).certificate(), 0),
        (fleet.authority(Role::Node).certificate(), 0),
        (fleet.authority(Role::Operator).certificate(), 0),
    ] {
        let parsed = certificate::parse(der).unwrap();
        let constraints = parsed.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(below));
        let (from_ms, until_ms) = certificate::dates_ms(&parsed);
        assert_eq!(until_ms - from_ms - BACKDATE_MS, AUTHORITY_LIFETIME_MS);
        assert!(parsed.key_usage().unwrap().unwrap().value.key_cert_sign());
    }
}

#[test]
fn every_certificate_has_its_own_random_serial_number() {
    let fleet = mk_fleet();
    let request = mk_request(&mk_plain()).unwrap();
    let mut serials = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let certified = fleet.certify(&request, &LeafTerms::node(NODE), NOW_MS).unwrap();
        let parsed = certificate::parse(&certified.chain[0]).unwrap();
        assert_eq!(parsed.raw_serial().len(), 16);
        serials.insert(parsed.raw_serial().to_vec());
    }
    assert_eq!(serials.len(), 20);
}

fn parts_of(fleet: &FleetPki) -> FleetParts {
    let copy = |role| {
        let authority = fleet.authority(role);
        Authority::from_parts(authority.certificate().clone(), &authority.key()).unwrap()
    };
    FleetParts {
        root: fleet.root().clone(),
        server: copy(Role::Server),
        node: copy(Role::Node),
        operator: copy(Role::Operator),
    }
}

#[test]
fn a_fleet_that_was_stored_issues_as_before_also_under_a_new_id() {
    let fleet = mk_fleet();
    let restored = FleetPki::from_parts("restored", parts_of(&fleet)).unwrap();
    assert_eq!(restored.anchors().unwrap().pin().unwrap(), fleet.anchors().unwrap().pin().unwrap());
    let leaf = &restored.issue(&LeafTerms::node(NODE), NOW_MS).unwrap().certified.chain[0];
    assert_eq!(Peer::of_certificate(leaf).unwrap().spiffe.fleet(), "restored");
    restored.anchors().unwrap().role_verifier(Role::Node).unwrap().check(leaf, at(NOW_MS)).unwrap();
    let old = fleet.anchors().unwrap().role_verifier(Role::Node).unwrap().check(leaf, at(NOW_MS));
    assert!(matches!(old, Err(VerifyError::WrongFleet { .. })));
}

#[test]
fn authorities_that_do_not_fit_together_are_refused() {
    let (fleet, other) = (mk_fleet(), mk_fleet());
    let mismatch = |parts| match FleetPki::from_parts(FLEET, parts) {
        Err(PkiError::Mismatch { what }) => what,
        other => panic!("{other:?}"),
    };
    let foreign_root = FleetParts { root: other.root().clone(), ..parts_of(&fleet) };
    assert_eq!(mismatch(foreign_root), "an intermediate was not signed by the root");
    let mut swapped = parts_of(&fleet);
    std::mem::swap(&mut swapped.server, &mut swapped.node);
    assert_eq!(mismatch(swapped), "an intermediate is not for its role");
    let of = |certificate: &CertificateDer<'static>, key| Authority::from_parts(certificate.clone(), &key);
    let node = fleet.authority(Role::Node);
    let wrong_key = of(node.certificate(), other.authority(Role::Node).key());
    assert!(matches!(wrong_key, Err(PkiError::Mismatch { what: "a key does not belong to its certificate" })));
    let no_key = of(node.certificate(), SecretBytes::from(vec![1, 2, 3]));
    assert!(matches!(no_key, Err(PkiError::Mismatch { .. })));
    let leaf = fleet.issue(&LeafTerms::node(NODE), NOW_MS).unwrap();
    let no_authority = of(&leaf.certified.chain[0], leaf.key.clone());
    assert!(matches!(no_authority, Err(PkiError::Mismatch { what: "a certificate is not an authority's" })));
}

#[test]
fn the_root_key_is_handed_over_once_and_no_key_prints() {
    let new = FleetPki::generate(FLEET, NOW_MS).unwrap();
    Authority::from_parts(new.pki.root().clone(), &new.root_key).unwrap();
    let issued = new.pki.issue(&LeafTerms::operator("o"), NOW_MS).unwrap();
    let shown = format!("{new:?} {issued:?}");
    for key in [&new.root_key, &new.pki.authority(Role::Node).key(), &issued.key] {
        let list = format!("{:?}", key.expose());
        assert!(!shown.contains(&list[1..list.len() - 1]) && !shown.contains(&hex::encode(key.expose())));
    }
    assert_eq!(Pin::of_certificate(new.pki.root()).unwrap(), new.pki.anchors().unwrap().pin().unwrap());
}

#[test]
fn a_restored_fleet_keeps_the_pin_and_believes_nothing_that_the_old_one_issued() {
    const RESTORED: &str = "0d7c3b1a-0000-4000-8000-000000000002";
    const LATER_MS: u64 = NOW_MS + 400 * 24 * 3600 * 1000;
    let made = FleetPki::generate(FLEET, NOW_MS).unwrap();
    let root = Authority::from_parts(made.pki.root().clone(), &made.root_key).unwrap();
    let restored = FleetPki::below(&root, RESTORED, LATER_MS).unwrap();
    let anchors = restored.anchors().unwrap();
    assert_eq!(anchors.pin().unwrap(), made.pki.anchors().unwrap().pin().unwrap());
    let server = restored.issue(&LeafTerms::server("1", Vec::new()), LATER_MS).unwrap().certified.chain;
    let verifier = ServerVerifier::new(Anchor::Pin(anchors.pin().unwrap()));
    assert_eq!(verifier.check(&server[0], &server[1..], at(LATER_MS)).unwrap().spiffe.fleet(), RESTORED);
    for role in [Role::Node, Role::Operator] {
        let old = LeafTerms { role, id: "a".into(), names: Vec::new(), lifetime_ms: 3_600_000 };
        let old = made.pki.issue(&old, LATER_MS).unwrap().certified.chain;
        assert!(anchors.role_verifier(role).unwrap().check(&old[0], at(LATER_MS)).is_err(), "{role}");
    }
    // Intermediates do not outlive the root that machines hold on to.
    let (_, root_until_ms) = root.dates_ms();
    assert_eq!(restored.authority(Role::Node).dates_ms().1, root_until_ms);
    assert!(matches!(FleetPki::below(&root, RESTORED, root_until_ms), Err(PkiError::RootDates)));
}
