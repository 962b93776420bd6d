use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls_pki_types::CertificateDer;

use crate::pin::Pin;
use crate::spiffe::{Role, SpiffeError};
use crate::testing::{
    Authority, FLEET, Fleet, NOW_S, at, mk_fleet, mk_intermediate, mk_leaf, mk_leaf_params, mk_params, mk_root, now,
    uri,
};
use crate::verify::{Anchor, ServerVerifier, VerifyError};

fn pin_of(authority: &Authority) -> Pin {
    Pin::of_certificate(authority.der()).unwrap()
}

fn pinned(fleet: &Fleet) -> ServerVerifier {
    ServerVerifier::new(Anchor::Pin(pin_of(&fleet.root)))
}

/// Both verifiers of `fleet`: by the pin, and by the root itself.
fn verifiers(fleet: &Fleet) -> [ServerVerifier; 2] {
    [pinned(fleet), ServerVerifier::new(Anchor::Root(fleet.root.der().clone()))]
}

fn is_chain_error(result: Result<crate::Peer, VerifyError>) -> bool {
    matches!(result, Err(VerifyError::Chain { .. }))
}

#[test]
fn a_server_of_the_pinned_fleet_is_believed() {
    let fleet = mk_fleet();
    let leaf = fleet.leaf(Role::Server, "1");
    for verifier in verifiers(&fleet) {
        let verifier = verifier.expecting_fleet(FLEET).expecting_server("1");
        let peer = verifier.check(&leaf.der, &fleet.rest(), now()).unwrap();
        assert_eq!(peer.spiffe.to_string(), format!("spiffe://{FLEET}/server/1"));
        assert_eq!(peer.spki_fingerprint, Pin::of_certificate(&leaf.der).unwrap());
        assert_eq!(peer.not_after_ms, (NOW_S + 24 * 3600) * 1000);
        assert_eq!(peer.not_before_ms, (NOW_S - 3600) * 1000);
    }
}

#[test]
fn the_order_of_the_certificates_after_the_leaf_does_not_matter() {
    let fleet = mk_fleet();
    let mut rest = fleet.rest();
    rest.reverse();
    pinned(&fleet).check(&fleet.leaf(Role::Server, "1").der, &rest, now()).unwrap();
}

#[test]
fn the_true_root_appended_to_a_forged_chain_proves_nothing() {
    let (fleet, thief) = (mk_fleet(), mk_fleet());
    let forged = thief.leaf(Role::Server, "1");
    let rest = [thief.server.der().clone(), thief.root.der().clone(), fleet.root.der().clone()];
    for verifier in verifiers(&fleet) {
        assert!(is_chain_error(verifier.check(&forged.der, &rest, now())));
    }
    // The true intermediate as well: its key did not sign the leaf.
    let rest = [fleet.server.der().clone(), fleet.root.der().clone()];
    for verifier in verifiers(&fleet) {
        assert!(is_chain_error(verifier.check(&forged.der, &rest, now())));
    }
}

#[test]
fn a_root_with_the_true_name_and_another_key_is_not_the_pinned_one() {
    let fleet = mk_fleet();
    let fake_root = mk_root("fleet root");
    let fake = mk_intermediate(&fake_root, Role::Server, 1000);
    let leaf = mk_leaf(&mk_leaf_params(Role::Server, "1"), &fake);
    let rest = [fake.der().clone(), fake_root.der().clone()];
    let error = pinned(&fleet).check(&leaf.der, &rest, now()).unwrap_err();
    let (wanted, seen) = (pin_of(&fleet.root), pin_of(&fake_root));
    assert_eq!(error, VerifyError::PinMismatch { wanted, seen: vec![seen] });
    let text = error.to_string();
    assert!(text.contains(&wanted.to_string()) && text.contains(&seen.to_string()), "{text}");
}

#[test]
fn a_chain_without_its_root_cannot_match_a_pin_and_says_so() {
    let fleet = mk_fleet();
    let leaf = fleet.leaf(Role::Server, "1");
    let error = pinned(&fleet).check(&leaf.der, &[fleet.server.der().clone()], now()).unwrap_err();
    assert_eq!(error, VerifyError::PinMismatch { wanted: pin_of(&fleet.root), seen: vec![] });
    assert!(error.to_string().contains("no self-signed certificate"));
    // Whoever holds the root needs no copy of it.
    let verifier = ServerVerifier::new(Anchor::Root(fleet.root.der().clone()));
    verifier.check(&leaf.der, &[fleet.server.der().clone()], now()).unwrap();
}

#[test]
fn a_pin_of_the_intermediate_is_refused_with_the_fix() {
    let fleet = mk_fleet();
    let wanted = pin_of(&fleet.server);
    let verifier = ServerVerifier::new(Anchor::Pin(wanted));
    let error = verifier.check(&fleet.leaf(Role::Server, "1").der, &fleet.rest(), now()).unwrap_err();
    assert_eq!(error, VerifyError::PinOfNonRoot { wanted });
}

#[test]
fn two_roots_with_the_pinned_key_are_ambiguous() {
    let fleet = mk_fleet();
    let mut params = mk_params("fleet root", 2000);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let second = params.self_signed(fleet.root.key()).unwrap();
    let mut rest = fleet.rest();
    rest.push(second.der().clone());
    let error = pinned(&fleet).check(&fleet.leaf(Role::Server, "1").der, &rest, now()).unwrap_err();
    assert_eq!(error, VerifyError::PinAmbiguous { count: 2 });
}

#[test]
fn a_pinned_key_whose_certificate_is_no_authority_is_no_anchor() {
    let fleet = mk_fleet();
    let not_ca = mk_params("fleet root", 1000).self_signed(fleet.root.key()).unwrap();
    let rest = [fleet.server.der().clone(), not_ca.der().clone()];
    let error = pinned(&fleet).check(&fleet.leaf(Role::Server, "1").der, &rest, now()).unwrap_err();
    assert_eq!(error, VerifyError::AnchorNotCa);
}

#[test]
fn a_self_signed_leaf_with_the_pinned_key_is_no_server() {
    let fleet = mk_fleet();
    let leaf = mk_leaf_params(Role::Server, "1").self_signed(fleet.root.key()).unwrap();
    assert!(pinned(&fleet).check(leaf.der(), &[], now()).is_err());
    assert!(pinned(&fleet).check(leaf.der(), &[leaf.der().clone()], now()).is_err());
}

#[test]
fn a_leaf_of_the_root_itself_is_refused() {
    let fleet = mk_fleet();
    let leaf = mk_leaf(&mk_leaf_params(Role::Server, "1"), &fleet.root);
    for verifier in verifiers(&fleet) {
        let error = verifier.check(&leaf.der, &fleet.rest(), now()).unwrap_err();
        assert_eq!(error, VerifyError::Depth { intermediates: 0 });
    }
}

#[test]
fn a_certificate_of_another_role_never_passes_for_a_server() {
    let fleet = mk_fleet();
    for role in [Role::Node, Role::Operator] {
        let rest = [fleet.issuer(role).der().clone(), fleet.root.der().clone()];
        for verifier in verifiers(&fleet) {
            // As it is.
            let error = verifier.check(&fleet.leaf(role, "n").der, &rest, now()).unwrap_err();
            assert_eq!(error, VerifyError::WrongUsage { wanted: "server authentication" });
            // With a server's identity and usages in it, should that intermediate ever sign such a thing.
            let leaf = mk_leaf(&mk_leaf_params(Role::Server, "1"), fleet.issuer(role));
            let error = verifier.check(&leaf.der, &rest, now()).unwrap_err();
            assert_eq!(error, VerifyError::WrongUsage { wanted: "server authentication" });
        }
    }
    // A node's identity that the server intermediate signed for serving.
    let mut params = mk_leaf_params(Role::Node, "n");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let leaf = mk_leaf(&params, &fleet.server);
    let error = pinned(&fleet).check(&leaf.der, &fleet.rest(), now()).unwrap_err();
    assert_eq!(error, VerifyError::WrongRole { wanted: Role::Server, seen: Role::Node });
}

#[test]
fn a_leaf_that_signs_another_leaf_is_no_authority() {
    let fleet = mk_fleet();
    let key = KeyPair::generate().unwrap();
    let middle_params = mk_leaf_params(Role::Server, "1");
    let middle = middle_params.signed_by(&key, &fleet.server).unwrap();
    let issuer = rcgen::Issuer::from_params(&middle_params, &key);
    let leaf = mk_leaf_params(Role::Server, "2").signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    let mut rest = fleet.rest();
    rest.push(middle.der().clone());
    assert!(is_chain_error(pinned(&fleet).check(leaf.der(), &rest, now())));
}

#[test]
fn a_missing_or_other_usage_is_refused() {
    let fleet = mk_fleet();
    for usages in [vec![], vec![ExtendedKeyUsagePurpose::ClientAuth], vec![ExtendedKeyUsagePurpose::Any]] {
        let mut params = mk_leaf_params(Role::Server, "1");
        params.extended_key_usages = usages;
        let leaf = mk_leaf(&params, &fleet.server);
        let error = pinned(&fleet).check(&leaf.der, &fleet.rest(), now()).unwrap_err();
        assert_eq!(error, VerifyError::WrongUsage { wanted: "server authentication" });
    }
}

#[test]
fn an_expired_or_future_leaf_is_refused() {
    let fleet = mk_fleet();
    let leaf = fleet.leaf(Role::Server, "1");
    let day = 24 * 3600;
    pinned(&fleet).check(&leaf.der, &fleet.rest(), at(day)).unwrap();
    let error = pinned(&fleet).check(&leaf.der, &fleet.rest(), at(day + 1)).unwrap_err();
    assert_eq!(error, VerifyError::Expired { now_s: NOW_S + day + 1, not_after_s: NOW_S + day });
    let mut params = mk_leaf_params(Role::Server, "1");
    params.not_before += time::Duration::hours(2);
    let leaf = mk_leaf(&params, &fleet.server);
    let error = pinned(&fleet).check(&leaf.der, &fleet.rest(), now()).unwrap_err();
    assert_eq!(error, VerifyError::NotYetValid { now_s: NOW_S, not_before_s: NOW_S + 3600 });
}

#[test]
fn an_expired_intermediate_or_root_is_refused() {
    let root = mk_root("fleet root");
    let short = mk_intermediate(&root, Role::Server, 1);
    let leaf = mk_leaf(&mk_leaf_params(Role::Server, "1"), &short);
    let rest = [short.der().clone(), root.der().clone()];
    let verifier = ServerVerifier::new(Anchor::Pin(pin_of(&root)));
    verifier.check(&leaf.der, &rest, now()).unwrap();
    let error = verifier.check(&leaf.der, &rest, at(3601)).unwrap_err();
    assert_eq!(error, VerifyError::Expired { now_s: NOW_S + 3601, not_after_s: NOW_S + 3600 });

    let fleet = mk_fleet();
    let mut params = mk_leaf_params(Role::Server, "1");
    params.not_after += time::Duration::days(365);
    let leaf = mk_leaf(&params, &fleet.server);
    for verifier in verifiers(&fleet) {
        let error = verifier.check(&leaf.der, &fleet.rest(), at(1001 * 3600)).unwrap_err();
        assert!(matches!(error, VerifyError::Expired { .. }), "{error}");
    }
}

#[test]
fn an_identity_that_is_missing_or_double_is_nobody() {
    let fleet = mk_fleet();
    let mut params = mk_leaf_params(Role::Server, "1");
    params.subject_alt_names.push(uri("spiffe://other/server/1"));
    let leaf = mk_leaf(&params, &fleet.server);
    let error = pinned(&fleet).check(&leaf.der, &fleet.rest(), now()).unwrap_err();
    assert_eq!(error, VerifyError::Identity(SpiffeError::UriCount { count: 2 }));
    params.subject_alt_names.clear();
    let leaf = mk_leaf(&params, &fleet.server);
    let error = pinned(&fleet).check(&leaf.der, &fleet.rest(), now()).unwrap_err();
    assert_eq!(error, VerifyError::Identity(SpiffeError::UriCount { count: 0 }));
}

#[test]
fn another_fleet_id_or_server_id_is_refused_when_one_is_expected() {
    let fleet = mk_fleet();
    let leaf = fleet.leaf(Role::Server, "1");
    let error = pinned(&fleet).expecting_fleet("restored").check(&leaf.der, &fleet.rest(), now()).unwrap_err();
    assert_eq!(error, VerifyError::WrongFleet { wanted: "restored".to_owned(), seen: FLEET.to_owned() });
    let error = pinned(&fleet).expecting_server("2").check(&leaf.der, &fleet.rest(), now()).unwrap_err();
    assert_eq!(error, VerifyError::WrongServer { wanted: "2".to_owned(), seen: "1".to_owned() });
}

#[test]
fn a_chain_that_is_too_long_or_unreadable_is_refused() {
    let fleet = mk_fleet();
    let leaf = fleet.leaf(Role::Server, "1");
    let many = vec![fleet.server.der().clone(); 8];
    let error = pinned(&fleet).check(&leaf.der, &many, now()).unwrap_err();
    assert_eq!(error, VerifyError::ChainTooLong { count: 9, max: 8 });
    let junk = [CertificateDer::from(vec![0x30, 0])];
    let error = pinned(&fleet).check(&leaf.der, &junk, now()).unwrap_err();
    assert_eq!(error, VerifyError::Unreadable(crate::NotACertificate));
    assert!(pinned(&fleet).check(&junk[0], &fleet.rest(), now()).is_err());
}
