//! Discovery files over HTTPS, from a real server, by a client that knows what kubeadm knows: a trust store, and no pin.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use muster_tests::{ClusterFile, SOON, Server};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};

const PORT: u16 = 9447;
const FILE: &str = "/discovery/v1/clusters/prod";
/// The name by which machines reach the server when it shows a web certificate.
const WEB_NAME: &str = "join.example.org";

/// Writes its settings anew, with these lines under `[discovery]`.
fn configure(server: &Server, lines: &str) -> Result<()> {
    let before = fs::read_to_string(server.settings_file())?;
    let kept = before.split("[discovery]").next().unwrap_or_default();
    Ok(fs::write(server.settings_file(), format!("{kept}[discovery]\nport = {PORT}\n{lines}"))?)
}

/// Status and body, if whoever answers shows a certificate for `name` that this authority vouches for.
fn fetch(server: &Server, authority_pem: &str, name: &str) -> Result<(u16, String)> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority_pem.as_bytes())?)?;
    let config = ClientConfig::builder_with_provider(muster_trust::provider()).with_safe_default_protocol_versions()?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let socket = TcpStream::connect_timeout(&SocketAddr::from((server.address(), PORT)), SOON)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let session = ClientConnection::new(Arc::new(config), ServerName::try_from(name.to_owned())?)?;
    let mut stream = StreamOwned::new(session, socket);
    stream.write_all(format!("GET {FILE} HTTP/1.1\r\nhost: {name}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    code.zip(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())).context(answer)
}

#[test]
fn the_fleets_own_certificate_is_trusted_by_who_has_its_root_alone() -> Result<()> {
    let mut server = Server::prepared("info")?;
    configure(&server, "")?;
    server.start()?;
    server.wait_ready()?;
    ClusterFile::new("prod").pool("worker", "worker", "token", &["worker-1"]).apply(&server)?;
    let root = server.done(&["server", "ca"])?;
    let shown = server.json(&["server", "ca"])?;
    assert_eq!(shown["pem"], root);
    assert!(shown["pin"].as_str().is_some_and(|pin| pin.starts_with("sha256:")), "{shown}");
    let name = server.address().to_string();
    let (code, body) = fetch(&server, &root, &name)?;
    assert!(code == 200 && body.starts_with("apiVersion: v1\nclusters:\n"), "{code} {body}");
    assert!(fetch(&server, &root, "join.example.org").is_err(), "a name that is not its own");
    let early = server.muster(&["join-command", "--cluster", "prod", "--discovery", "https"])?;
    assert!(early.code != 0 && early.stderr.contains("no control plane yet"), "{}", early.stderr);
    // A name that a balancer has, and the certificate of the fleet: it stands in it after a restart.
    server.stop()?;
    configure(&server, &format!("url = \"{WEB_NAME}:443\"\n"))?;
    server.start()?;
    server.wait_ready()?;
    assert_eq!(fetch(&server, &root, WEB_NAME)?.0, 200);
    assert_eq!(fetch(&server, &root, &name)?.0, 200);
    server.stop()
}

#[test]
fn a_web_certificate_is_shown_where_there_is_one_and_must_be_there_at_a_start() -> Result<()> {
    let mut server = Server::prepared("info")?;
    let (certificate, key) = (server.home().join("web.crt"), server.home().join("web.key"));
    let files = format!("certificate = {certificate:?}\nkey = {key:?}\n");
    configure(&server, &format!("url = \"{WEB_NAME}:{PORT}\"\n{files}"))?;
    server.start()?;
    assert_ne!(server.wait_end(SOON)?, 0);
    server.forget_process();
    assert!(server.log().contains("web.crt can't be read"), "{}", server.log());

    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate()?;
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let leaf_key = KeyPair::generate()?;
    let leaf = CertificateParams::new([WEB_NAME.to_owned()])?;
    let leaf = leaf.signed_by(&leaf_key, &Issuer::from_params(&authority, &authority_key))?;
    fs::write(certificate, leaf.pem())?;
    fs::write(key, leaf_key.serialize_pem())?;
    server.start()?;
    server.wait_ready()?;
    let (code, body) = fetch(&server, &authority_pem, WEB_NAME)?;
    assert!(code == 404 && body.contains("no such cluster"), "{code} {body}");
    let (_, figures) = server.http("/metrics")?;
    assert!(figures.contains("muster_certificate_expiry_timestamp_seconds{name=\"discovery\"} "), "{figures}");
    let root = server.done(&["server", "ca"])?;
    assert!(fetch(&server, &root, &server.address().to_string()).is_err(), "the fleet's own is not shown here");
    server.stop()
}
