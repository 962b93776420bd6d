//! A fleet of one real server with its enrolment listener on a real socket, and hosts that ask it.

use std::{net::Ipv4Addr, sync::Arc};

use muster_proto::enrolment::v1::enrolment_service_server::EnrolmentServiceServer;
use muster_state::{
    Digest,
    command::{ApproveServer, CreateServerToken, RemoveServer},
};
use muster_trust::{IdentityCell, sealing::SealingPrivateKey, server_config_with};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tonic::transport::Server;

use super::super::*;
use crate::{
    api::{
        enrolment::Enrolment,
        listener::{Limits, accept},
        voters::Voters,
    },
    clock::now_ms,
    identity::{Membership, keys::IdentityKey},
    operations::{
        Unsealed,
        founded::Founded,
        keyring::{Keyring, Keys},
        urls,
    },
    peers::{Client, Gate, greet::Memory},
    pki::LeafTerms,
    seal::{OwnKeys, SealKey},
};

const SOON: Duration = Duration::from_secs(20);

struct Served {
    server: Unsealed,
    url: Uri,
    founded: Founded,
}

impl Served {
    async fn start() -> Self {
        let founded = Founded::start(urls::Places::default()).await;
        let server = founded.server.clone();
        let url = listen(&server, &server.keys().unwrap()).await;
        Self { server, url, founded }
    }

    async fn stop(self) {
        self.founded.stop().await;
    }

    async fn token(&self, id: &str) -> Zeroizing<String> {
        let text = format!("mst-{id}-{}", "a".repeat(32));
        let sha256 = Digest(Sha256::digest(&text).into());
        self.server.ledger.propose(CreateServerToken { id: id.into(), sha256, ttl_ms: 60_000 }).await.unwrap();
        Zeroizing::new(text)
    }
}

fn mk_own() -> OwnKeys {
    OwnKeys {
        seal: SealKey::from_bytes(&[7; 32]).unwrap(),
        before: None,
        sealing: SealingPrivateKey::generate().unwrap(),
    }
}

async fn listen(server: &Unsealed, keys: &Keys) -> Uri {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("https://{}/", socket.local_addr().unwrap()).parse().unwrap();
    let shown = keys.pki.issue(&LeafTerms::server("1", vec!["127.0.0.1".into()]), now_ms()).unwrap().to_tls();
    let tls = Arc::new(server_config_with(Arc::new(IdentityCell::new(shown).unwrap()), None).unwrap());
    let limits = Limits { connections: 16, per_address: 16 };
    let incoming = accept(socket, tls, limits, server.stopping.clone());
    let voters = Voters { client: Client::new(Gate::default(), Memory::default()), ledger: server.ledger.clone() };
    let service = EnrolmentServiceServer::new(Enrolment { server: server.clone(), voters });
    let stop = server.stopping.clone().cancelled_owned();
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming_shutdown(incoming, stop));
    url
}

struct Host {
    key: IdentityKey,
    sealing: SealingPrivateKey,
}

impl Host {
    fn new() -> Self {
        Self { key: IdentityKey::generate().unwrap(), sealing: SealingPrivateKey::generate().unwrap() }
    }

    fn applicant(&self, served: &Served, token: Option<&Zeroizing<String>>) -> Applicant<'_> {
        Applicant {
            pin: served.server.anchors.pin().unwrap(),
            key: &self.key,
            sealing: self.sealing.public(),
            token: token.cloned(),
            places: Places {
                address: "192.0.2.7:9446".into(),
                enrolment: vec!["https://192.0.2.7:9443".into()],
                nodes: Vec::new(),
                operators: Vec::new(),
            },
        }
    }

    /// Asks, and has an operator approve whatever waits.
    async fn join(&self, served: &Served, token: Option<&Zeroizing<String>>) -> Result<Membership, JoinError> {
        let (ledger, key) = (served.server.ledger.clone(), self.key.fingerprint());
        let mut approve = |seen: Pending| {
            assert_eq!(seen.fingerprint, key.to_string());
            let ledger = ledger.clone();
            tokio::spawn(async move {
                ledger.propose(ApproveServer { server: seen.server, fingerprint: key }).await.unwrap();
            });
        };
        let asked = self.applicant(served, token);
        tokio::time::timeout(SOON, asked.ask(&served.url, &mut approve)).await.expect("no answer came")
    }
}

fn reason(outcome: Result<Membership, JoinError>) -> String {
    match outcome {
        Err(JoinError::Refused { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_approved_host_gets_a_certificate_for_its_own_key_and_the_same_one_when_it_asks_again() {
    let served = Served::start().await;
    let (host, token) = (Host::new(), served.token("aaaaaaaa").await);
    let membership = host.join(&served, Some(&token)).await.unwrap();
    assert_eq!((membership.server, membership.fleet.as_str()), (2, served.server.fleet.as_str()));
    assert_eq!(membership.anchors().unwrap(), *served.server.anchors);
    let record = served.server.ledger.read(|state| state.server(2).cloned()).unwrap();
    assert_eq!(record.sealing_key.0, host.sealing.public().as_bytes());
    assert_eq!((record.address.as_str(), record.key), ("192.0.2.7:9446", host.key.fingerprint()));
    // Without the token: it was used, and the keys are what counts.
    let again = host.join(&served, None).await.unwrap();
    assert_eq!(again.chain, membership.chain);
    served.stop().await;
}

#[tokio::test]
async fn a_token_lets_one_server_ask_and_a_second_one_is_an_alarm() {
    let served = Served::start().await;
    let token = served.token("aaaaaaaa").await;
    assert_eq!(reason(Host::new().join(&served, None).await), "ServerTokenUnknown");
    Host::new().join(&served, Some(&token)).await.unwrap();
    assert_eq!(reason(Host::new().join(&served, Some(&token)).await), "ServerTokenSpent");
    let alarms =
        served.server.ledger.read(|state| state.events.iter().filter(|event| event.reason == "TokenMisused").count());
    assert_eq!(alarms, 1);
    served.stop().await;
}

#[tokio::test]
async fn a_removed_server_and_a_host_with_the_wrong_pin_get_nothing() {
    let served = Served::start().await;
    let (host, token) = (Host::new(), served.token("aaaaaaaa").await);
    host.join(&served, Some(&token)).await.unwrap();
    let remove = RemoveServer { server: 2, force: false, reason: String::new() };
    served.server.ledger.propose(remove).await.unwrap();
    assert_eq!(reason(host.join(&served, None).await), "ServerRemoved");
    let stranger = Host::new();
    let mut applicant = stranger.applicant(&served, Some(&token));
    applicant.pin = Pin::of_spki(b"another");
    let outcome = applicant.ask(&served.url, &mut |_| {}).await;
    assert!(matches!(outcome, Err(JoinError::Untrusted { .. })), "{outcome:?}");
    served.stop().await;
}

#[tokio::test]
async fn a_server_without_the_fleets_keys_sends_the_host_to_another_one() {
    let served = Served::start().await;
    let (host, token) = (Host::new(), served.token("aaaaaaaa").await);
    let keys = served.server.keys().unwrap();
    let relay = Unsealed { keyring: Keyring::new(9, Arc::new(mk_own())), ..served.server.clone() };
    let relay = Served { url: listen(&relay, &keys).await, server: relay, ..served };
    match host.join(&relay, Some(&token)).await {
        Err(JoinError::Refused { reason, retryable: true, .. }) => assert_eq!(reason, "Unavailable"),
        other => panic!("{other:?}"),
    }
    relay.stop().await;
}

#[tokio::test]
async fn what_a_machine_signed_or_another_key_signed_asks_for_nothing() {
    use crate::operations::admit_server::{AdmitError, Claims, Proof, request};
    let served = Served::start().await;
    let (host, other, token) = (Host::new(), Host::new(), served.token("aaaaaaaa").await);
    let machines = muster_trust::statement::sign(host.key.pkcs8(), b"signed").unwrap();
    for (signature, good) in
        [(machines, false), (other.key.sign(b"signed").unwrap(), false), (host.key.sign(b"signed").unwrap(), true)]
    {
        let claims = Claims {
            nonce: vec![5; 32],
            fleet: served.server.fleet.to_string(),
            csr_der: host.key.request_der().unwrap(),
            sealing_key: host.sealing.public().as_bytes().to_vec(),
            address: "192.0.2.7:9446".into(),
            urls: Default::default(),
            version: "1".into(),
        };
        let proof = Proof { statement: b"signed", claims, signature: &signature, token: &token, from: "192.0.2.7" };
        let outcome = request(&served.server, &[5; 32], proof).await;
        match outcome {
            Ok(_) => assert!(good),
            Err(AdmitError::Bad(word, _)) => assert!(word == "BadStatement" && !good),
            Err(AdmitError::Propose(err)) => panic!("{err}"),
        }
    }
    served.stop().await;
}
