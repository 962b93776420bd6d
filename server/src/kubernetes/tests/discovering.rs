//! Join lines that discover by HTTPS, and the files they fetch, over real TLS as kubeadm does it: by a trust store and nothing else.

use std::{net::SocketAddr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use muster_state::{
    ClusterId, NodeName,
    command::{RevokeToken, UpdateCluster},
    record::{BootstrapTokenState, ClusterSpec, Purpose, Role},
};
use muster_trust::{IdentityCell, https_config};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsConnector;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected as _;

use super::{
    double::{REQUESTS, SECRETS},
    lines::until_verdict,
    secrets::Signer,
    start,
    world::{World, csr, pkcs10, until, within},
};
use crate::{
    api::{
        fixture::CLUSTER,
        listener::{Limits, accept},
    },
    clock::now_ms,
    discovery,
    operations::{
        OperationError, Unsealed,
        discovery_file::DiscoveryFiles,
        join_command::{Approval, Discovery, Line, Order, run},
        keyring::Keyring,
        urls::{DiscoveryPlace, Places},
    },
    pki::{LeafTerms, certificates_to_pem},
};

const FILE: &str = "/discovery/v1/clusters/prod";

/// A server that serves discovery files, and what a machine needs to fetch them.
struct Served {
    address: SocketAddr,
    roots: RootCertStore,
    shutdown: CancellationToken,
}

impl Served {
    async fn start(world: &World, server: Unsealed) -> Self {
        let keys = world.server.keys().unwrap();
        let identity = keys.pki.issue(&LeafTerms::server("1", vec!["127.0.0.1".into()]), now_ms()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(keys.pki.root().clone()).unwrap();
        let tls = https_config(Arc::new(IdentityCell::new(identity.to_tls()).unwrap())).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, shutdown) = (socket.local_addr().unwrap(), CancellationToken::new());
        let limits = Limits { connections: 8, per_address: 8 };
        let incoming = accept(socket, Arc::new(tls), limits, shutdown.clone());
        let incoming = incoming.filter_map(|accepted| {
            let accepted = accepted.ok()?;
            let from = accepted.connect_info().remote.ip();
            Some((accepted, from))
        });
        tokio::spawn(discovery::serve(incoming, DiscoveryFiles::new(server), shutdown.clone()));
        Self { address, roots, shutdown }
    }

    /// Status, header and body, read until the server closes; none if there is no TLS.
    async fn ask(&self, protocols: &[&[u8]], request: &str) -> Option<(u16, String, String)> {
        let provider = muster_trust::provider();
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(self.roots.clone()).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        // It closes without a word of TLS where the answer is an early one.
        let _ = within("an answer", stream.read_to_string(&mut answer)).await;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, head.to_lowercase(), body.to_owned()))
    }

    /// GET as kubeadm does it, which closes nothing by itself; with a token as the user part of the URL.
    async fn get(&self, path: &str, token: Option<&str>) -> (u16, String, String) {
        let shown =
            token.map(|token| format!("authorization: Basic {}\r\n", STANDARD.encode(token.replacen('.', ":", 1))));
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{}\r\n", shown.unwrap_or_default());
        self.ask(&[], &request).await.unwrap()
    }
}

fn at_a_place(world: &World, of_fleet: bool) -> Unsealed {
    let discovery = Some(DiscoveryPlace { url: "https://boot.prod:9447".into(), of_fleet });
    Unsealed { places: Arc::new(Places { discovery, ..Places::default() }), ..world.server.clone() }
}

async fn print(server: &Unsealed, discovery: Discovery, name: Option<&str>) -> Result<Line, OperationError> {
    let node_name = name.map(|name| NodeName::parse(name).unwrap());
    let order = Order { role: Role::Worker, node_name, discovery, ttl_ms: 3_600_000, caller: "anna".into() };
    run(server, &ClusterId::from(CLUSTER), order).await
}

async fn close(world: &World) {
    let cluster = world.cluster();
    let spec = ClusterSpec { cluster_info_closed: true, ..cluster.spec };
    let update = UpdateCluster { id: cluster.id, revision: cluster.revision, spec };
    world.server.ledger.propose(update).await.unwrap();
    let public = || world.cluster().link.and_then(|link| link.cluster_info_public);
    until("its end", async || if public() == Some(false) { Ok(()) } else { Err(public()) }).await;
}

#[tokio::test]
async fn a_line_by_https_works_where_cluster_info_is_closed_and_nothing_is_signed() {
    let (double, world) = start().await;
    double.signer(Signer::Off);
    close(&world).await;
    let server = at_a_place(&world, false);
    let line = print(&server, Discovery::Https, Some("w9")).await.unwrap();
    let token = world.whole_token(&line.token);
    let expected = format!(
        "kubeadm join --discovery-file https://boot.prod:9447{FILE} --tls-bootstrap-token {token} --node-name w9"
    );
    assert_eq!((line.text.expose(), line.approval), (expected.as_str(), Approval::Muster));
    let secret = double.get(SECRETS, &format!("bootstrap-token-{}", line.token)).unwrap();
    assert!(secret["data"]["usage-bootstrap-signing"].is_null(), "{secret}");
    assert!(secret["data"]["usage-bootstrap-authentication"].is_string(), "{secret}");
    double.put(REQUESTS, csr("own", &line.token, &pkcs10("system:node:w9", "system:nodes")));
    until_verdict(&double, "own", "Approved").await;
    let unnamed = print(&server, Discovery::HttpsEmbedded, None).await.unwrap();
    assert_eq!(unnamed.approval, Approval::Person);
    let (id, secret) = (&unnamed.token, &world.whole_token(&unnamed.token)[7..]);
    let expected = format!("kubeadm join --discovery-file https://{id}:{secret}@boot.prod:9447{FILE}");
    assert_eq!(unnamed.text.expose(), expected);
    world.stop().await;
}

#[tokio::test]
async fn a_line_of_a_server_with_the_fleets_own_certificate_brings_the_root() {
    let (_double, world) = start().await;
    let line = print(&at_a_place(&world, true), Discovery::Https, None).await.unwrap();
    let root = STANDARD.encode(certificates_to_pem(std::slice::from_ref(world.server.anchors.root())));
    assert!(line.text.expose().starts_with(&format!("ca=$(mktemp) && echo {root} | base64 -d > \"$ca\" && ")));
    let nowhere = print(&world.server, Discovery::Https, None).await.map(|_| ()).unwrap_err().to_string();
    assert!(nowhere.contains("[discovery]"), "{nowhere}");
    world.stop().await;
}

#[tokio::test]
async fn a_file_comes_with_the_token_that_was_shown_or_without_any() {
    let (_double, world) = start().await;
    let served = Served::start(&world, world.server.clone()).await;
    let line = print(&at_a_place(&world, false), Discovery::HttpsEmbedded, Some("w9")).await.unwrap();
    let token = world.whole_token(&line.token);
    let (status, head, public) = served.get(FILE, None).await;
    assert_eq!(status, 200, "{public}");
    assert!(head.contains("cache-control: no-store") && head.contains("connection: close"), "{head}");
    let tree: serde_json::Value = serde_saphyr::from_str(&public).unwrap();
    assert_eq!(tree["clusters"][0]["cluster"]["server"], format!("https://{}", world.cluster().spec.endpoint));
    let authority = world.cluster().certificates.iter().find(|ca| ca.name == "ca.crt").unwrap().pem.clone();
    assert_eq!(tree["clusters"][0]["cluster"]["certificate-authority-data"], STANDARD.encode(authority));
    assert!(tree["users"].is_null() && !public.contains(&token));
    for _ in 0..2 {
        let (status, _, own) = served.get(FILE, Some(&token)).await;
        let tree: serde_json::Value = serde_saphyr::from_str(&own).unwrap();
        assert_eq!((status, tree["users"][0]["user"]["token"].as_str()), (200, Some(token.as_str())));
    }
    let told = world.state(|state| {
        let told =
            state.events.iter().filter(|event| event.message.ends_with("goes to 127.0.0.1, as a discovery file"));
        told.map(|event| event.message.clone()).collect::<Vec<_>>()
    });
    let expected =
        format!("a join line (worker) for node w9 with token {} goes to 127.0.0.1, as a discovery file", line.token);
    assert_eq!(told, [expected], "the same address is recorded once");
    served.shutdown.cancel();
    world.stop().await;
}

#[tokio::test]
async fn a_wrong_cluster_and_any_wrong_token_get_the_same_answer() {
    let (_double, world) = start().await;
    let served = Served::start(&world, world.server.clone()).await;
    let server = at_a_place(&world, false);
    let line = print(&server, Discovery::HttpsEmbedded, None).await.unwrap();
    let good = world.whole_token(&line.token);
    let revoked = print(&server, Discovery::HttpsEmbedded, Some("w8")).await.unwrap();
    let whole_revoked = world.whole_token(&revoked.token);
    world.server.ledger.propose(RevokeToken { id: revoked.token.clone() }).await.unwrap();
    world.until_token(&revoked.token, BootstrapTokenState::Deleted).await;
    let (_, own) = world.worker("machine-w1", "w1").await;
    world.until_token(&own, BootstrapTokenState::Present).await;
    let of_a_node = world.whole_token(&own);
    let fresh = world.whole_token(&world.line(Purpose::FileJoinCommand(Role::Worker, None)).await);
    let (status, _, unknown) = served.get("/discovery/v1/clusters/other", None).await;
    assert!(status == 404 && unknown.contains("muster join-command"), "{unknown}");
    assert!(serde_saphyr::from_str::<serde_json::Value>(&unknown).unwrap()["kind"].is_string(), "kubeadm repeats it");
    let wrong = format!("{}.{}", line.token, "x".repeat(16));
    let foreign = format!("zzzzzz.{}", &good[7..]);
    for token in [&wrong, &foreign, &whole_revoked, &of_a_node, &"no token".to_owned(), &String::new()] {
        assert_eq!(served.get(FILE, Some(token)).await.2, unknown);
    }
    for path in ["/discovery/v1/clusters/other", "/discovery/v1/clusters/", "/", "/discovery/v1/clusters/%ff"] {
        let (status, _, body) = served.get(path, Some(&good)).await;
        assert_eq!((status, &body), (404, &unknown), "{path}");
    }
    assert_eq!(served.get(FILE, Some(&good)).await.0, 200);
    world.until_token(&fresh[..6].into(), BootstrapTokenState::Present).await;
    assert_eq!(served.get(FILE, Some(&fresh)).await.0, 200);
    served.shutdown.cancel();
    world.stop().await;
}

#[tokio::test]
async fn nothing_but_fetching_over_tls_and_http_1_is_answered() {
    let (_double, world) = start().await;
    let served = Served::start(&world, world.server.clone()).await;
    let request = |method: &str| format!("{method} {FILE} HTTP/1.1\r\nhost: x\r\n\r\n");
    let (status, head, body) = served.ask(&[b"h2", b"http/1.1"], &request("HEAD")).await.unwrap();
    assert!(status == 200 && body.is_empty() && head.contains("content-length: "), "{head}");
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let (status, _, body) = served.ask(&[b"http/1.1"], &request(method)).await.unwrap();
        assert!(status == 405 && body.contains("GET"), "{method}: {body}");
    }
    assert_eq!(served.ask(&[b"h2"], &request("GET")).await, None, "an agent is not to be led here");
    let mut plain = TcpStream::connect(served.address).await.unwrap();
    plain.write_all(request("GET").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = within("its end", plain.read_to_end(&mut answer)).await;
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/"), "{answer:?}");
    served.shutdown.cancel();
    world.stop().await;
}

#[tokio::test]
async fn a_server_without_keys_gives_what_is_public_and_says_so_of_the_rest() {
    let (_double, world) = start().await;
    let line = print(&at_a_place(&world, false), Discovery::HttpsEmbedded, None).await.unwrap();
    let keyring = Keyring::new(2, world.server.keyring.own().clone());
    let served = Served::start(&world, Unsealed { keyring, ..world.server.clone() }).await;
    assert_eq!(served.get(FILE, None).await.0, 200);
    let answers = [world.whole_token(&line.token), "zzzzzz.0123456789abcdef".to_owned()];
    for token in answers {
        let (status, _, body) = served.get(FILE, Some(&token)).await;
        assert!(status == 503 && body.contains("not a voter"), "{status} {body}");
    }
    served.shutdown.cancel();
    world.stop().await;
}
