//! The pages as a scraper and a load balancer see them, over a real socket.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::super::{Check, Health, HealthReporter, metrics, serve};

const PATIENCE: Duration = Duration::from_secs(10);

struct Running {
    address: std::net::SocketAddr,
    reporter: HealthReporter,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

async fn mk_running() -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (reporter, health) = Health::starting();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(serve(listener, health, metrics::recorder().unwrap(), shutdown.clone()));
    Running { address, reporter, shutdown, task }
}

/// Status and body, read until the server closes.
async fn get(address: std::net::SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

#[tokio::test]
async fn a_server_that_starts_is_alive_and_says_why_it_is_not_ready() {
    let running = mk_running().await;
    assert_eq!(get(running.address, "/livez").await, (200, "ok".to_owned()));
    assert_eq!(get(running.address, "/healthz").await, (200, "ok".to_owned()));
    let (status, body) = get(running.address, "/readyz").await;
    assert_eq!(status, 503);
    assert_eq!(body, "[+]main-loop ok\n[-]start failed: still starting\nreadyz check failed\n");
}

#[tokio::test]
async fn readiness_lists_its_checks_when_asked() {
    let running = mk_running().await;
    running.reporter.report(vec![Check::new("seal", None), Check::new("leader", None)]);
    assert_eq!(get(running.address, "/readyz").await, (200, "ok".to_owned()));
    let listed = "[+]main-loop ok\n[+]seal ok\n[+]leader ok\nreadyz check passed\n".to_owned();
    assert_eq!(get(running.address, "/readyz?verbose").await, (200, listed));
    running.reporter.report(vec![Check::new("seal", Some("no key".to_owned())), Check::new("leader", None)]);
    assert_eq!(get(running.address, "/readyz").await.0, 503);
    assert_eq!(get(running.address, "/livez?verbose").await, (200, "[+]main-loop ok\nlivez check passed\n".to_owned()));
}

#[tokio::test]
async fn metrics_are_in_the_text_format_and_name_this_build() {
    let running = mk_running().await;
    metrics::sealed(true);
    let (status, body) = get(running.address, "/metrics").await;
    assert_eq!(status, 200);
    let version = env!("CARGO_PKG_VERSION");
    assert!(body.contains(&format!("muster_build_info{{version=\"{version}\",revision=")), "{body}");
    assert!(body.contains("# TYPE muster_sealed gauge\nmuster_sealed 1\n"), "{body}");
    assert!(body.contains("# TYPE process_resident_memory_bytes gauge\n"), "{body}");
    for line in body.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let value = line.rsplit(' ').next().unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}

#[tokio::test]
async fn nothing_else_is_served() {
    let running = mk_running().await;
    for path in ["/", "/fleet", "/metrics/x", "/livez/../metrics"] {
        assert_eq!(get(running.address, path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn shutdown_ends_the_server_although_a_connection_is_idle() {
    let running = mk_running().await;
    let idle = TcpStream::connect(running.address).await.unwrap();
    get(running.address, "/livez").await;
    running.shutdown.cancel();
    tokio::time::timeout(PATIENCE, running.task).await.unwrap().unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
    drop(idle);
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_off() {
    let running = mk_running().await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost:").await.unwrap();
    let mut answer = Vec::new();
    // Ends by itself: the peer closes. How it says so is its own affair.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
}
