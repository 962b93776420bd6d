use rcgen::ExtendedKeyUsagePurpose;
use rustls_pki_types::CertificateDer;

use crate::spiffe::{Role, SpiffeError};
use crate::testing::{FLEET, Fleet, NOW_S, at, mk_fleet, mk_intermediate, mk_leaf, mk_leaf_params, now, uri};
use crate::verify::{RoleVerifier, VerifyError};

fn listener(fleet: &Fleet, role: Role) -> RoleVerifier {
    RoleVerifier::new(role, FLEET, vec![fleet.issuer(role).der().clone()]).unwrap()
}

#[test]
fn each_listener_admits_its_own_role_and_no_other() {
    let fleet = mk_fleet();
    for listening in Role::ALL {
        for calling in Role::ALL {
            let leaf = fleet.leaf(calling, "x");
            let result = listener(&fleet, listening).check(&leaf.der, now());
            if listening == calling {
                assert_eq!(result.unwrap().spiffe.role(), calling);
            } else {
                assert!(matches!(result, Err(VerifyError::Chain { .. })), "{calling} at {listening}");
            }
        }
    }
}

#[test]
fn an_identity_of_another_role_from_the_right_intermediate_is_refused() {
    let fleet = mk_fleet();
    let leaf = mk_leaf(&mk_leaf_params(Role::Operator, "o"), &fleet.node);
    let error = listener(&fleet, Role::Node).check(&leaf.der, now()).unwrap_err();
    assert_eq!(error, VerifyError::WrongRole { wanted: Role::Node, seen: Role::Operator });
}

#[test]
fn a_leaf_of_the_root_itself_does_not_lead_up_to_the_intermediate() {
    let fleet = mk_fleet();
    let leaf = mk_leaf(&mk_leaf_params(Role::Node, "n"), &fleet.root);
    let error = listener(&fleet, Role::Node).check(&leaf.der, now()).unwrap_err();
    assert!(matches!(error, VerifyError::Chain { .. }), "{error}");
}

#[test]
fn an_intermediate_of_the_same_name_in_another_fleet_is_no_anchor() {
    let (fleet, other) = (mk_fleet(), mk_fleet());
    let error = listener(&fleet, Role::Node).check(&other.leaf(Role::Node, "n").der, now()).unwrap_err();
    assert!(matches!(error, VerifyError::Chain { .. }), "{error}");
}

#[test]
fn the_intermediate_itself_is_not_let_in() {
    let fleet = mk_fleet();
    assert!(listener(&fleet, Role::Node).check(fleet.node.der(), now()).is_err());
}

#[test]
fn the_fleet_id_is_mandatory() {
    let fleet = mk_fleet();
    let mut params = mk_leaf_params(Role::Node, "n");
    params.subject_alt_names = vec![uri("spiffe://other/node/n")];
    let leaf = mk_leaf(&params, &fleet.node);
    let error = listener(&fleet, Role::Node).check(&leaf.der, now()).unwrap_err();
    assert_eq!(error, VerifyError::WrongFleet { wanted: FLEET.to_owned(), seen: "other".to_owned() });
}

#[test]
fn a_client_without_the_client_usage_is_refused() {
    let fleet = mk_fleet();
    for usages in [vec![], vec![ExtendedKeyUsagePurpose::ServerAuth], vec![ExtendedKeyUsagePurpose::Any]] {
        let mut params = mk_leaf_params(Role::Node, "n");
        params.extended_key_usages = usages;
        let leaf = mk_leaf(&params, &fleet.node);
        let error = listener(&fleet, Role::Node).check(&leaf.der, now()).unwrap_err();
        assert_eq!(error, VerifyError::WrongUsage { wanted: "client authentication" });
    }
}

#[test]
fn two_identities_are_nobody() {
    let fleet = mk_fleet();
    let mut params = mk_leaf_params(Role::Node, "n");
    params.subject_alt_names.push(uri(&format!("spiffe://{FLEET}/node/m")));
    let leaf = mk_leaf(&params, &fleet.node);
    let error = listener(&fleet, Role::Node).check(&leaf.der, now()).unwrap_err();
    assert_eq!(error, VerifyError::Identity(SpiffeError::UriCount { count: 2 }));
}

#[test]
fn an_expired_leaf_or_intermediate_is_refused() {
    let fleet = mk_fleet();
    let day = 24 * 3600;
    let leaf = fleet.leaf(Role::Node, "n");
    let error = listener(&fleet, Role::Node).check(&leaf.der, at(day + 1)).unwrap_err();
    assert_eq!(error, VerifyError::Expired { now_s: NOW_S + day + 1, not_after_s: NOW_S + day });

    let short = mk_intermediate(&fleet.root, Role::Node, 1);
    let leaf = mk_leaf(&mk_leaf_params(Role::Node, "n"), &short);
    let verifier = RoleVerifier::new(Role::Node, FLEET, vec![short.der().clone()]).unwrap();
    verifier.check(&leaf.der, now()).unwrap();
    let error = verifier.check(&leaf.der, at(3601)).unwrap_err();
    assert_eq!(error, VerifyError::Expired { now_s: NOW_S + 3601, not_after_s: NOW_S + 3600 });
}

#[test]
fn both_intermediates_of_a_rotation_admit_and_the_better_reason_is_told() {
    let fleet = mk_fleet();
    let next = mk_intermediate(&fleet.root, Role::Node, 1000);
    let both = vec![fleet.node.der().clone(), next.der().clone()];
    let verifier = RoleVerifier::new(Role::Node, FLEET, both).unwrap();
    verifier.check(&fleet.leaf(Role::Node, "n").der, now()).unwrap();
    verifier.check(&mk_leaf(&mk_leaf_params(Role::Node, "n"), &next).der, now()).unwrap();
    let mut params = mk_leaf_params(Role::Node, "n");
    params.not_after = params.not_before + time::Duration::minutes(1);
    for issuer in [&fleet.node, &next] {
        let error = verifier.check(&mk_leaf(&params, issuer).der, now()).unwrap_err();
        assert!(matches!(error, VerifyError::Expired { .. }), "{error}");
    }
}

#[test]
fn a_listener_without_a_usable_anchor_is_not_made() {
    let fleet = mk_fleet();
    let make = |anchors| RoleVerifier::new(Role::Node, FLEET, anchors).unwrap_err();
    assert_eq!(make(vec![]), VerifyError::NoAnchor);
    assert_eq!(make(vec![fleet.leaf(Role::Node, "n").der]), VerifyError::AnchorNotCa);
    assert_eq!(make(vec![CertificateDer::from(vec![1])]), VerifyError::Unreadable(crate::NotACertificate));
}
