//! The verifiers inside real handshakes, over memory.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::time_provider::TimeProvider;
use rustls::{AlertDescription, ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection};
use rustls_pki_types::UnixTime;

use crate::config::{client_config, client_config_with, server_config, server_config_with};
use crate::identity::{IdentityCell, IdentityError, TlsIdentity};
use crate::peer::Peer;
use crate::pin::Pin;
use crate::spiffe::Role;
use crate::testing::{FLEET, Fleet, at, mk_fleet};
use crate::verify::{Anchor, RoleVerifier, ServerVerifier, VerifyError};

#[derive(Debug)]
struct Fixed(UnixTime);

impl TimeProvider for Fixed {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0)
    }
}

struct Outcome {
    client: ClientConnection,
    server: ServerConnection,
    client_error: Option<Error>,
    server_error: Option<Error>,
}

/// Shakes hands `time_s` after the moment of the tests, until nobody has more to say.
fn shake(mut client: ClientConfig, mut server: ServerConfig, time_s: u64) -> Outcome {
    client.time_provider = Arc::new(Fixed(at(time_s)));
    server.time_provider = Arc::new(Fixed(at(time_s)));
    let name = ServerName::try_from("198.51.100.7").unwrap();
    let mut outcome = Outcome {
        client: ClientConnection::new(Arc::new(client), name).unwrap(),
        server: ServerConnection::new(Arc::new(server)).unwrap(),
        client_error: None,
        server_error: None,
    };
    // Three flights each way are more than TLS 1.3 has.
    for _ in 0..6 {
        let mut wire = Vec::new();
        while outcome.client.wants_write() {
            outcome.client.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() && outcome.server.read_tls(&mut wire).is_ok() {
            if let Err(error) = outcome.server.process_new_packets() {
                outcome.server_error.get_or_insert(error);
            }
        }
        let mut wire = Vec::new();
        while outcome.server.wants_write() {
            outcome.server.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() && outcome.client.read_tls(&mut wire).is_ok() {
            if let Err(error) = outcome.client.process_new_packets() {
                outcome.client_error.get_or_insert(error);
            }
        }
    }
    outcome
}

fn anchor(fleet: &Fleet) -> Anchor {
    Anchor::Pin(Pin::of_certificate(fleet.root.der()).unwrap())
}

fn client(fleet: &Fleet, identity: Option<TlsIdentity>) -> ClientConfig {
    client_config(anchor(fleet), Some(FLEET), identity).unwrap()
}

fn node_listener(fleet: &Fleet) -> ServerConfig {
    let verifier = RoleVerifier::new(Role::Node, FLEET, vec![fleet.node.der().clone()]).unwrap();
    server_config(fleet.identity(Role::Server, "1"), Some(verifier)).unwrap()
}

#[test]
fn a_node_and_a_server_know_each_other_over_tls_1_3_and_h2() {
    let fleet = mk_fleet();
    let outcome = shake(client(&fleet, Some(fleet.identity(Role::Node, "n"))), node_listener(&fleet), 0);
    assert_eq!((&outcome.client_error, &outcome.server_error), (&None, &None));
    assert!(!outcome.client.is_handshaking() && !outcome.server.is_handshaking());
    let node = Peer::of_certificates(outcome.server.peer_certificates().unwrap()).unwrap();
    assert_eq!(node.spiffe.to_string(), format!("spiffe://{FLEET}/node/n"));
    let server = Peer::of_certificates(outcome.client.peer_certificates().unwrap()).unwrap();
    assert_eq!(server.spiffe.to_string(), format!("spiffe://{FLEET}/server/1"));
    assert_eq!(outcome.client.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(outcome.client.alpn_protocol(), Some(b"h2".as_slice()));
    assert_eq!(outcome.client.tls13_tickets_received(), 0);
}

#[test]
fn the_enrolment_listener_asks_for_no_certificate() {
    let fleet = mk_fleet();
    let server = server_config(fleet.identity(Role::Server, "1"), None).unwrap();
    let outcome = shake(client(&fleet, None), server, 0);
    assert_eq!((outcome.client_error, outcome.server_error), (None, None));
    assert!(outcome.server.peer_certificates().is_none());
}

#[test]
fn a_caller_without_a_certificate_stays_outside() {
    let fleet = mk_fleet();
    let outcome = shake(client(&fleet, None), node_listener(&fleet), 0);
    assert_eq!(outcome.server_error, Some(Error::NoCertificatesPresented));
}

#[test]
fn a_wrong_pin_ends_the_handshake_and_the_reason_can_be_found() {
    let (fleet, other) = (mk_fleet(), mk_fleet());
    let server = server_config(fleet.identity(Role::Server, "1"), None).unwrap();
    let outcome = shake(client(&other, None), server, 0);
    let wanted = Pin::of_certificate(other.root.der()).unwrap();
    let seen = vec![Pin::of_certificate(fleet.root.der()).unwrap()];
    let error = std::io::Error::other(outcome.client_error.unwrap());
    assert_eq!(VerifyError::find(&error), Some(VerifyError::PinMismatch { wanted, seen }));
    assert!(error.to_string().contains(&wanted.to_string()), "{error}");
    assert!(outcome.server_error.is_some());
}

#[test]
fn a_node_with_an_expired_certificate_is_told_by_an_alert() {
    let fleet = mk_fleet();
    let mut identity = fleet.identity(Role::Node, "n");
    let mut params = crate::testing::mk_leaf_params(Role::Node, "n");
    params.not_after = params.not_before + time::Duration::minutes(1);
    let leaf = crate::testing::mk_leaf(&params, &fleet.node);
    identity.chain[0] = leaf.der;
    identity.key = leaf.key.serialize_der().try_into().unwrap();
    let outcome = shake(client(&fleet, Some(identity)), node_listener(&fleet), 0);
    let found = VerifyError::find(&outcome.server_error.unwrap());
    assert!(matches!(found, Some(VerifyError::Expired { .. })), "{found:?}");
    assert_eq!(outcome.client_error, Some(Error::AlertReceived(AlertDescription::CertificateExpired)));
}

#[test]
fn an_operator_is_not_let_in_at_the_nodes_listener() {
    let fleet = mk_fleet();
    let operator = fleet.identity(Role::Operator, "o");
    let outcome = shake(client(&fleet, Some(operator)), node_listener(&fleet), 0);
    let found = VerifyError::find(&outcome.server_error.unwrap());
    assert!(matches!(found, Some(VerifyError::Chain { .. })), "{found:?}");
}

#[test]
fn a_thief_with_a_certificate_but_not_its_key_is_refused_before_it_calls() {
    let fleet = mk_fleet();
    let mut stolen = fleet.identity(Role::Server, "1");
    stolen.key = fleet.identity(Role::Server, "1").key;
    assert!(matches!(IdentityCell::new(stolen), Err(IdentityError::Key(_))));
}

#[test]
fn a_replaced_identity_is_shown_in_the_next_handshake() {
    let fleet = mk_fleet();
    let cell = Arc::new(IdentityCell::new(fleet.identity(Role::Server, "1")).unwrap());
    let before = cell.peer();
    let seen = || {
        let server = server_config_with(Arc::clone(&cell), None).unwrap();
        let verifier = ServerVerifier::new(anchor(&fleet)).expecting_server("1");
        let outcome = shake(client_config_with(verifier, None).unwrap(), server, 0);
        Peer::of_certificates(outcome.client.peer_certificates().unwrap()).unwrap()
    };
    assert_eq!(seen(), before);
    cell.replace(fleet.identity(Role::Server, "1")).unwrap();
    assert_ne!(seen(), before);
    assert_eq!(seen(), cell.peer());
    let kept = cell.peer();
    let nobody = TlsIdentity { chain: vec![], key: fleet.identity(Role::Server, "1").key };
    assert!(cell.replace(nobody).is_err());
    assert_eq!(cell.peer(), kept);
}

#[test]
fn a_private_key_does_not_print() {
    let fleet = mk_fleet();
    let identity = fleet.identity(Role::Server, "1");
    assert_eq!(format!("{identity:?}"), r#"TlsIdentity { chain: 3, key: "[redacted]" }"#);
}
