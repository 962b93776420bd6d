//! Real handshakes with servers of this process: who is trusted, who is let in, and which server is asked next.

use std::path::Path;
use std::sync::Arc;

use muster_proto::admin::v1::GetStatusRequest;
use muster_proto::admin::v1::admin_service_server::AdminServiceServer;
use muster_proto::admin::v1::{ListNodesRequest, Status};
use muster_trust::Role;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;

use super::Session;
use super::testing::{Fake, World};
use crate::cli::args::Globals;
use crate::cli::environment::Environment;
use crate::cli::exit::{Exit, Failure};
use crate::pki::{FleetPki, LeafTerms};

/// Bytes in flight between a TLS connection and the service behind it.
const PIPE: usize = 64 << 10;

#[expect(clippy::disallowed_methods, reason = "the handshakes under test look at the real clock")]
fn now_ms() -> u64 {
    jiff::Timestamp::now().as_millisecond().try_into().unwrap()
}

fn mk_fleet(name: &str) -> FleetPki {
    FleetPki::generate(name, now_ms()).unwrap().pki
}

/// An operator listener of `fleet`; returns its URL.
async fn serve(fleet: &FleetPki, fake: Fake) -> String {
    let identity = fleet.issue(&LeafTerms::server("1", vec!["127.0.0.1".into()]), now_ms()).unwrap();
    let verifier = fleet.anchors().unwrap().role_verifier(Role::Operator).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(muster_trust::server_config(identity.to_tls(), Some(verifier)).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let (accepted, incoming) = tokio::sync::mpsc::channel::<std::io::Result<_>>(4);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let (mut near, far) = tokio::io::duplex(PIPE);
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut stream, &mut near).await });
            if accepted.send(Ok(far)).await.is_err() {
                return;
            }
        }
    });
    let server = tonic::transport::Server::builder().add_service(AdminServiceServer::new(fake));
    tokio::spawn(server.serve_with_incoming(ReceiverStream::new(incoming)));
    url
}

/// An address where nobody listens.
async fn mk_dead_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("https://{}", listener.local_addr().unwrap())
}

/// A session as an operator has it: by files and a context.
fn mk_session(folder: &Path, servers: &[&str], fleet: &FleetPki, role: Role) -> Result<Session, Failure> {
    let terms = LeafTerms { role, ..LeafTerms::operator("alice") };
    let identity = fleet.issue(&terms, now_ms()).unwrap();
    let chain: Vec<String> = identity.certified.chain.iter().map(|der| mk_pem("CERTIFICATE", der)).collect();
    std::fs::write(folder.join("alice.crt"), chain.concat()).unwrap();
    std::fs::write(folder.join("alice.key"), mk_pem("PRIVATE KEY", identity.key.expose())).unwrap();
    let context = crate::cli::context::Context {
        servers: servers.iter().map(|url| (*url).to_owned()).collect(),
        ca_hash: fleet.anchors().unwrap().pin().unwrap().to_string(),
        certificate: "alice.crt".into(),
        key: "alice.key".into(),
    };
    let path = folder.join("config.toml");
    crate::cli::context::write_first_context(&path, "lab", &context).unwrap();
    Session::open(&Globals { config: Some(path), ..Globals::default() }, &Environment::default())
}

fn mk_pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

fn mk_fake() -> Fake {
    Fake::new(World { status: Status { fleet: "f1".into(), ..Status::default() }, ..World::default() })
}

async fn status(session: &Session) -> Result<String, Failure> {
    session.call(async |mut client| client.get_status(GetStatusRequest {}).await).await.map(|status| status.fleet)
}

#[tokio::test]
async fn an_operator_reaches_a_server_that_the_pin_vouches_for() {
    let (folder, fleet) = (tempfile::tempdir().unwrap(), mk_fleet("f1"));
    let url = serve(&fleet, mk_fake()).await;
    let session = mk_session(folder.path(), &[&url], &fleet, Role::Operator).unwrap();
    assert_eq!(status(&session).await, Ok("f1".to_owned()));
}

#[tokio::test]
async fn a_server_of_another_fleet_is_not_trusted_and_the_pins_are_named() {
    let (folder, fleet, other) = (tempfile::tempdir().unwrap(), mk_fleet("f1"), mk_fleet("f2"));
    let url = serve(&other, mk_fake()).await;
    let session = mk_session(folder.path(), &[&url], &fleet, Role::Operator).unwrap();
    let failure = status(&session).await.unwrap_err();
    assert_eq!(failure.exit, Exit::Invalid);
    assert!(failure.message.contains(&other.anchors().unwrap().pin().unwrap().to_string()), "{failure}");
    assert!(failure.next.unwrap().contains("ca_hash"));
}

#[tokio::test]
async fn a_node_is_no_operator() {
    let (folder, fleet) = (tempfile::tempdir().unwrap(), mk_fleet("f1"));
    let url = serve(&fleet, mk_fake()).await;
    let session = mk_session(folder.path(), &[&url], &fleet, Role::Node).unwrap();
    let failure = status(&session).await.unwrap_err();
    assert_eq!(failure.exit, Exit::NotAllowed, "{failure}");
}

#[tokio::test]
async fn a_server_that_is_down_is_passed_over() {
    let (folder, fleet) = (tempfile::tempdir().unwrap(), mk_fleet("f1"));
    let (dead, live) = (mk_dead_url().await, serve(&fleet, mk_fake()).await);
    let session = mk_session(folder.path(), &[&dead, &live], &fleet, Role::Operator).unwrap();
    assert_eq!(status(&session).await, Ok("f1".to_owned()));
}

#[tokio::test]
async fn a_server_that_cannot_serve_now_is_passed_over_with_the_same_request() {
    let (folder, fleet) = (tempfile::tempdir().unwrap(), mk_fleet("f1"));
    let leaderless = Fake::new(World { refuse: Some(tonic::Status::unavailable("no leader")), ..World::default() });
    let (first, second) = (serve(&fleet, leaderless).await, serve(&fleet, mk_fake()).await);
    let session = mk_session(folder.path(), &[&first, &second], &fleet, Role::Operator).unwrap();
    assert_eq!(status(&session).await, Ok("f1".to_owned()));
    // The next call begins with the server that answered.
    assert!(session.server().starts_with(&second), "{}", session.server());
}

#[tokio::test]
async fn if_no_server_can_be_used_each_is_named_with_its_reason() {
    let (folder, fleet) = (tempfile::tempdir().unwrap(), mk_fleet("f1"));
    let (one, two) = (mk_dead_url().await, mk_dead_url().await);
    let session = mk_session(folder.path(), &[&one, &two], &fleet, Role::Operator).unwrap();
    let failure = status(&session).await.unwrap_err();
    assert_eq!(failure.exit, Exit::Unreachable);
    for url in [&one, &two] {
        assert!(failure.message.contains(url.trim_start_matches("https://")), "{failure}");
    }
    assert!(failure.message.contains("refused"), "{failure}");
    assert!(failure.next.unwrap().contains("muster serve"));
}

#[tokio::test]
async fn a_server_that_says_nothing_does_not_hold_a_command_for_ever() {
    let fleet = mk_fleet("f1");
    let folder = tempfile::tempdir().unwrap();
    // Connections are taken by the kernel and never answered.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    drop(mk_session(folder.path(), &[&url], &fleet, Role::Operator).unwrap());
    let globals = Globals {
        config: Some(folder.path().join("config.toml")),
        timeout: Some(std::time::Duration::from_millis(300)),
        ..Globals::default()
    };
    let session = Session::open(&globals, &Environment::default()).unwrap();
    assert_eq!(status(&session).await.unwrap_err().exit, Exit::Unreachable);
    drop(silent);
}

#[tokio::test]
async fn an_answer_of_many_megabytes_arrives() {
    let (folder, fleet) = (tempfile::tempdir().unwrap(), mk_fleet("f1"));
    let node =
        |n: u32| muster_proto::admin::v1::Node { id: n.to_string(), message: "x".repeat(1000), ..Default::default() };
    let fake = Fake::new(World { nodes: (0..10_000).map(node).collect(), ..World::default() });
    let url = serve(&fleet, fake).await;
    let session = mk_session(folder.path(), &[&url], &fleet, Role::Operator).unwrap();
    let request = ListNodesRequest::default();
    let nodes = session.call(async |mut client| client.list_nodes(request.clone()).await).await.unwrap();
    assert_eq!(nodes.items.len(), 10_000);
}

#[test]
fn a_context_that_cannot_work_is_refused_before_anything_is_called() {
    let (folder, fleet) = (tempfile::tempdir().unwrap(), mk_fleet("f1"));
    drop(mk_session(folder.path(), &["https://a"], &fleet, Role::Operator).unwrap());
    let path = folder.path().join("config.toml");
    let open = || Session::open(&Globals { config: Some(path.clone()), ..Globals::default() }, &Environment::default());
    let good = std::fs::read_to_string(&path).unwrap();
    for (from, to, says) in
        [("sha256:", "sha1:", "ca_hash"), ("alice.crt", "bob.crt", "bob.crt"), ("https://a", "http://a", "not https")]
    {
        std::fs::write(&path, good.replace(from, to)).unwrap();
        let failure = open().err().unwrap();
        assert_eq!(failure.exit, Exit::Invalid, "{to}");
        assert!(failure.message.contains(says), "{failure}");
    }
    std::fs::write(&path, good).unwrap();
    let other = mk_fleet("f2").issue(&LeafTerms::operator("alice"), now_ms()).unwrap();
    std::fs::write(folder.path().join("alice.key"), mk_pem("PRIVATE KEY", other.key.expose())).unwrap();
    assert!(open().err().unwrap().message.contains("do not fit"));
}
