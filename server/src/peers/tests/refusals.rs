//! Who and what is not taken.

use std::sync::Arc;

use hyper_util::rt::TokioIo;
use muster_proto::internal::raft::v1::{
    AppendRequest, Ballot, Entry, Envelope, InstallSnapshotRequest, ReadIndexRequest, VoteRequest,
    peer_service_client::PeerServiceClient,
};
use muster_trust::{Anchor, IdentityCell, ServerVerifier, client_config_with};
use openraft::raft::VoteRequest as Candidacy;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::*;
use crate::clock::now_ms;
use crate::consensus::machine::toy::{Toy, Write};
use crate::consensus::transport::{Transport, TransportError};
use crate::consensus::types::Vote;
use crate::consensus::{Peer, ProposeError};
use crate::peers::MESSAGE_BYTES_MAX;
use crate::peers::relay::{PayloadAsk, RelayError};
use crate::pki::{FleetPki, LeafTerms};
use group::*;

/// A way to a server for somebody with this certificate; what the client of the product checks is not checked.
async fn raw(pki: &FleetPki, terms: &LeafTerms, fleet: &Fleet, peer: &Peer) -> PeerServiceClient<Channel> {
    let identity = Arc::new(IdentityCell::new(pki.issue(terms, now_ms()).unwrap().to_tls()).unwrap());
    let verifier = ServerVerifier::new(Anchor::Root(fleet.pki.root().clone()));
    let tls = Arc::new(client_config_with(verifier, Some(identity)).unwrap());
    let stream = TcpStream::connect(&peer.address).await.unwrap();
    let stream = TlsConnector::from(tls).connect(ServerName::try_from("x").unwrap(), stream).await.unwrap();
    let mut stream = Some(TokioIo::new(stream));
    let once = tower::service_fn(move |_| {
        let stream = stream.take().ok_or_else(|| std::io::Error::other("the connection has ended"));
        async move { stream }
    });
    let endpoint = Endpoint::from_static("https://x").connect_timeout(LONG);
    PeerServiceClient::new(endpoint.connect_with_connector(once).await.unwrap())
}

fn server(id: u64) -> LeafTerms {
    LeafTerms::server(&id.to_string(), vec![])
}

fn envelope(from: u64, to: u64) -> Option<Envelope> {
    Some(Envelope { fleet: FLEET.to_owned(), from, to })
}

fn candidacy(envelope: Option<Envelope>) -> VoteRequest {
    VoteRequest { envelope, vote: Some(Ballot { term: 1, server: Some(2), committed: false }), last: None }
}

/// What server 1 answers server 2's certificate when it sends this.
async fn answered(fleet: &Fleet, request: VoteRequest) -> Status {
    let mut client = raw(&fleet.pki, &server(2), fleet, fleet.peer(1)).await;
    client.vote(request).await.map(drop).unwrap_err()
}

/// One server that has founded its group.
async fn alone(fleet: &mut Fleet) -> Member {
    let founder = fleet.start(1).await;
    founder.consensus.initialize(founder.peer.clone()).await.unwrap();
    founder.consensus.wait_ready(LONG).await.unwrap();
    founder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_role_or_fleet_does_not_get_through_the_handshake() {
    let mut fleet = Fleet::new();
    let founder = alone(&mut fleet).await;
    let foreign = mk_pki("another-fleet");
    // Same names, other authorities: an attacker's own fleet.
    let twin = mk_pki(FLEET);
    for (pki, terms) in [
        (&fleet.pki, LeafTerms::node("2")),
        (&fleet.pki, LeafTerms::operator("2")),
        (&foreign, server(2)),
        (&twin, server(2)),
    ] {
        let mut client = raw(pki, &terms, &fleet, fleet.peer(1)).await;
        let refused = client.vote(candidacy(envelope(2, 1))).await.map(drop).unwrap_err();
        assert!(std::error::Error::source(&refused).is_some(), "no server answered this: {refused}");
    }
    founder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_names_another_sender_addressee_or_fleet_is_refused() {
    let mut fleet = Fleet::new();
    let founder = alone(&mut fleet).await;
    let other_fleet = Some(Envelope { fleet: "restored".to_owned(), from: 2, to: 1 });
    for (envelope, code, words) in [
        (envelope(3, 1), Code::PermissionDenied, "the certificate is server 2's, the message says it is from server 3"),
        (envelope(2, 7), Code::FailedPrecondition, "the message is for server 7, this is server 1"),
        (other_fleet, Code::PermissionDenied, "the message is for another fleet"),
        (None, Code::InvalidArgument, "the message has no envelope"),
    ] {
        let refused = answered(&fleet, candidacy(envelope)).await;
        assert_eq!((refused.code(), refused.message()), (code, words));
    }
    founder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_no_member_is_refused() {
    let mut fleet = Fleet::new();
    let founder = alone(&mut fleet).await;
    let mut client = raw(&fleet.pki, &server(2), &fleet, fleet.peer(1)).await;
    let refused = client.read_index(ReadIndexRequest { envelope: envelope(2, 1) }).await.map(drop).unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::PermissionDenied, "server 2 does not belong to this group"));
    founder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_removed_is_refused_from_then_on() {
    let mut fleet = Fleet::new();
    let [leader, second, third] = fleet.three().await;
    let asked = Candidacy { vote: Vote::new(1, 3), last_log_id: None };
    let ask = || Transport::<Toy>::vote(&third.client, 1, &leader.peer, asked.clone(), LONG);
    assert!(ask().await.is_ok(), "a member is heard");
    leader.consensus.remove(3).await.unwrap();
    let refused = TransportError::Refused("server 3 does not belong to this group".to_owned());
    assert_eq!(ask().await.map(drop), Err(refused));
    for member in [leader, second, third] {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_address_does_not_reach_the_wrong_server() {
    let mut fleet = Fleet::new();
    let founder = alone(&mut fleet).await;
    let client = fleet.client(2);
    let asked = Candidacy { vote: Vote::new(1, 2), last_log_id: None };
    let refused = Transport::<Toy>::vote(&client, 3, &founder.peer, asked, LONG).await.map(drop);
    let Err(TransportError::Unreachable(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("server") && why.contains('3') && why.contains('1'), "{why}");
    founder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_beyond_the_bound_is_refused() {
    let mut fleet = Fleet::new();
    let founder = alone(&mut fleet).await;
    let mut client = raw(&fleet.pki, &server(2), &fleet, fleet.peer(1)).await;
    let entry = Entry { index: 1, stored: vec![0; MESSAGE_BYTES_MAX] };
    let request = AppendRequest { envelope: envelope(2, 1), entries: vec![entry], ..AppendRequest::default() };
    let refused = client.append(request).await.map(drop).unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    assert!(refused.message().contains("too large"), "{refused}");
    founder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_piece_of_a_snapshot_is_refused() {
    let mut fleet = Fleet::new();
    let founder = alone(&mut fleet).await;
    let mut client = raw(&fleet.pki, &server(2), &fleet, fleet.peer(1)).await;
    let request = InstallSnapshotRequest {
        envelope: envelope(2, 1),
        vote: Some(Ballot { term: 9, server: Some(2), committed: true }),
        data: b"not what was sent".to_vec(),
        sha256: vec![0; 32],
        ..InstallSnapshotRequest::default()
    };
    let refused = client.install_snapshot(request).await.map(drop).unwrap_err();
    assert_eq!(refused.code(), Code::DataLoss);
    assert!(refused.message().contains("is damaged: its checksum does not fit"), "{refused}");
    founder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_forwards_what_machines_ask_for_and_nothing_else() {
    let mut fleet = Fleet::new();
    let founder = alone(&mut fleet).await;
    let relay = fleet.start(2).await;
    founder.consensus.add_learner(2, relay.peer.clone()).await.unwrap();
    relay.consensus.wait_ready(LONG).await.unwrap();
    assert_eq!(relay.write("machine n has joined").await, 1);
    let refused = relay.consensus.propose(Write::new("operator's word"), LONG).await;
    assert_eq!(refused, Err(ProposeError::Malformed), "at once, and not when its time is up");
    assert_eq!(founder.texts(), ["machine n has joined"]);
    relay.stop().await;
    founder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_know_itself_reaches_nobody() {
    let mut fleet = Fleet::new();
    let founder = alone(&mut fleet).await;
    let gate = crate::peers::Gate::default();
    let client = crate::peers::Client::new(gate.clone(), crate::peers::greet::Memory::default());
    let ask = || Transport::<Toy>::campaign(&client, 1, &founder.peer, LONG);
    let words = |why: &str| Err(TransportError::Unreachable(why.to_owned()));
    assert_eq!(ask().await, words("this server has only started, and was not welcomed yet"));
    gate.open();
    assert_eq!(ask().await, words("this server has no certificate yet"));
    client.present(fleet.credentials(1));
    assert_eq!(ask().await, Err(TransportError::Refused("a server does not call itself".to_owned())));
    founder.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_member_may_ask_a_voter_for_what_needs_keys() {
    let mut fleet = Fleet::new();
    let [leader, second, third] = fleet.three().await;
    let ask = PayloadAsk { node: "n".into(), attempt: 1, step: "join".into(), key: muster_state::Digest([0; 32]) };
    let asked = third.client.render_payload(1, &leader.peer, ask.clone(), LONG).await.unwrap().map(drop);
    assert_eq!(asked, Err(RelayError::Request("server 3 asks for step join of n".to_owned())));
    let issued = third.client.issue_certificate(1, &leader.peer, &"n".into(), LONG).await;
    assert_eq!(issued, Ok(Err(RelayError::Moved)));
    let refused = TransportError::Refused("server 9 is no member of this fleet's group".to_owned());
    let stranger = fleet.client(9);
    let asked = stranger.render_payload(1, &leader.peer, ask, LONG).await.map(drop);
    assert_eq!(asked, Err(refused.clone()));
    assert_eq!(stranger.issue_certificate(1, &leader.peer, &"n".into(), LONG).await, Err(refused));
    for member in [leader, second, third] {
        member.stop().await;
    }
}
