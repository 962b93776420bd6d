//! A fleet of scripted servers on loopback: real TLS by `muster-trust`, real gRPC, and a truth that all of them share.

mod pki;
mod services;
mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use muster_agent::{
    Error, Executor, FactSource, Facts, Injection, Outcome, Rehearsal, RehearsalOptions, Settings, Token,
};
use muster_proto::enrolment::v1::enrolment_service_server::EnrolmentServiceServer;
use muster_proto::join::v1 as join;
use muster_proto::join::v1::join_service_server::JoinServiceServer;
use muster_trust::sealing::SealingPublicKey;
use muster_trust::{Pin, Role, RoleVerifier, server_config};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

pub(crate) use pki::Pki;

/// Nothing on loopback takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A value of every payload, which must appear nowhere.
pub(crate) const SECRET: &str = "hunter2-hunter2-hunter2";

/// What a server knows of a machine.
pub(crate) struct Known {
    pub(crate) fingerprint: String,
    pub(crate) sealing: SealingPublicKey,
    pub(crate) hostname: String,
    pub(crate) generation: u64,
    /// Spoke on the node listener since its certificate was issued.
    pub(crate) attached: u32,
    pub(crate) preflights: Vec<join::Preflight>,
}

/// The truth that all servers share.
pub(crate) struct World {
    pub(crate) approved: bool,
    /// Issued, so machines that show another are refused for good.
    pub(crate) token: Option<String>,
    pub(crate) tokens_seen: usize,
    pub(crate) nodes: BTreeMap<String, Known>,
    pub(crate) attempt: u32,
    pub(crate) steps: Vec<(&'static str, join::Verb, bool)>,
    pub(crate) hold: bool,
    pub(crate) recorded: BTreeSet<(String, u32, String)>,
    pub(crate) reports: Vec<(String, join::Report)>,
    pub(crate) lines: Vec<String>,
    /// So many ends are recorded without an acknowledgement, and the stream is closed.
    pub(crate) forgotten_acks: u32,
    /// Life of certificates: from so long ago, for so long.
    pub(crate) certificate_age: (Duration, Duration),
    /// Certificates are issued under an intermediate that the node listeners do not know, as after a restored backup.
    pub(crate) stranger: bool,
    pub(crate) urls: Vec<String>,
}

impl World {
    pub(crate) fn ended(&self, step: &str) -> bool {
        self.recorded.iter().any(|(_, attempt, recorded)| *attempt == self.attempt && recorded == step)
    }

    pub(crate) fn reports_of(&self, step: &str, outcome: join::Outcome) -> Vec<&join::Report> {
        let of = |(_, report): &&(String, join::Report)| report.step == step && report.outcome() == outcome;
        self.reports.iter().filter(of).map(|(_, report)| report).collect()
    }
}

/// Shared with the services.
pub(crate) struct Shared {
    pub(crate) world: Mutex<World>,
    pub(crate) changed: watch::Sender<u64>,
    pub(crate) pki: Pki,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Changes the truth, and tells every stream.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.send_modify(|revision| *revision += 1);
        result
    }
}

struct Running {
    enrolment: SocketAddr,
    node: SocketAddr,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

/// The whole of it.
pub(crate) struct Fleet {
    pub(crate) shared: Arc<Shared>,
    servers: Vec<Running>,
}

impl Fleet {
    /// With so many servers, and machines that are approved at once.
    pub(crate) async fn start(servers: usize) -> Self {
        let world = World {
            approved: true,
            token: None,
            tokens_seen: 0,
            nodes: BTreeMap::new(),
            attempt: 1,
            steps: vec![("join", join::Verb::JoinWorker, true), ("ready", join::Verb::WaitReady, true)],
            hold: false,
            recorded: BTreeSet::new(),
            reports: Vec::new(),
            lines: Vec::new(),
            forgotten_acks: 0,
            certificate_age: (Duration::ZERO, Duration::from_secs(24 * 3600)),
            stranger: false,
            urls: Vec::new(),
        };
        let shared = Arc::new(Shared { world: Mutex::new(world), changed: watch::channel(0).0, pki: Pki::new() });
        let mut fleet = Self { shared, servers: Vec::new() };
        for number in 0..servers {
            fleet.add(number).await;
        }
        let urls = fleet.servers.iter().map(|server| format!("https://{}", server.node)).collect();
        fleet.shared.change(|world| world.urls = urls);
        fleet
    }

    async fn add(&mut self, number: usize) {
        let stop = CancellationToken::new();
        let identity = || self.shared.pki.server(&format!("s{number}"));
        let nodes = RoleVerifier::new(Role::Node, pki::FLEET, vec![self.shared.pki.node_intermediate()]).unwrap();
        let enrolment = bind().await;
        let node = bind().await;
        let (enrolment_at, node_at) = (enrolment.local_addr().unwrap(), node.local_addr().unwrap());
        let enrolment = tls::incoming(enrolment, server_config(identity(), None).unwrap(), stop.clone());
        let node = tls::incoming(node, server_config(identity(), Some(nodes)).unwrap(), stop.clone());
        let service = services::Service { shared: Arc::clone(&self.shared), stop: stop.clone() };
        let enrol = Server::builder()
            .add_service(EnrolmentServiceServer::new(service.clone()))
            .serve_with_incoming_shutdown(enrolment, stop.clone().cancelled_owned());
        let join = Server::builder()
            .add_service(JoinServiceServer::new(service))
            .serve_with_incoming_shutdown(node, stop.clone().cancelled_owned());
        let tasks = vec![tokio::spawn(async { enrol.await.unwrap() }), tokio::spawn(async { join.await.unwrap() })];
        self.servers.push(Running { enrolment: enrolment_at, node: node_at, stop, tasks });
    }

    /// Stops one server, streams and all.
    pub(crate) async fn stop(&mut self, number: usize) {
        let server = &mut self.servers[number];
        server.stop.cancel();
        for task in server.tasks.drain(..) {
            timeout(PATIENCE, task).await.expect("a server stops").unwrap();
        }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.shared.lock()
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        self.shared.change(change)
    }

    /// Waits until the truth is so.
    pub(crate) async fn until(&self, what: &str, so: impl Fn(&World) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        let wait = async {
            while !so(&self.world()) {
                changed.changed().await.unwrap();
            }
        };
        if timeout(PATIENCE, wait).await.is_err() {
            let world = self.world();
            let last: Vec<_> = world.reports.iter().rev().take(5).collect();
            panic!("waited in vain for: {what}; recorded {:?}, last reports {last:?}", world.recorded);
        }
    }

    /// Settings of an agent that knows every server.
    pub(crate) fn settings(&self, dir: &Path, name: &str) -> Settings {
        let servers = self.servers.iter().map(|server| server.enrolment.to_string().parse().unwrap()).collect();
        Settings {
            once: true,
            facts: FactSource::Given(Box::new(Facts::invented(name))),
            token: Token::new("the-token"),
            grace: PATIENCE,
            ..Settings::new(servers, self.shared.pki.pin(), dir.join(name))
        }
    }

    /// An agent that runs by itself.
    pub(crate) fn agent(&self, settings: Settings, options: RehearsalOptions) -> Agent {
        Agent::start(settings, Executor::Rehearsal(Rehearsal::new(options)))
    }
}

async fn bind() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

/// A rehearsal that takes milliseconds.
pub(crate) fn quick(name: &str) -> RehearsalOptions {
    let phase = (Duration::from_millis(1), Duration::from_millis(5));
    RehearsalOptions { phase, seed: name.to_owned(), ..RehearsalOptions::default() }
}

/// A rehearsal whose phases do not end by themselves.
pub(crate) fn endless(name: &str) -> RehearsalOptions {
    RehearsalOptions { phase: (PATIENCE * 60, PATIENCE * 60), ..quick(name) }
}

pub(crate) fn failing(name: &str, failure: Injection) -> RehearsalOptions {
    RehearsalOptions { failures: vec![failure], ..quick(name) }
}

/// A running agent.
pub(crate) struct Agent {
    task: JoinHandle<Result<Outcome, Error>>,
    pub(crate) shutdown: CancellationToken,
}

impl Agent {
    fn start(settings: Settings, executor: Executor) -> Self {
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(muster_agent::run(settings, executor, shutdown.clone()));
        Self { task, shutdown }
    }

    pub(crate) async fn end(self) -> Result<Outcome, Error> {
        timeout(PATIENCE, self.task).await.expect("the agent ends").expect("the agent does not panic")
    }

    /// As a power cut would: at once, and without a word. Tasks of the session end with their channels.
    pub(crate) async fn kill(self) {
        self.task.abort();
        drop(self.task.await);
    }
}

pub(crate) fn must_be_ready(end: Result<Outcome, Error>) {
    assert!(matches!(end, Ok(Outcome::Ready { .. })), "{end:?}");
}

/// What the rehearsal did.
pub(crate) fn log(dir: &Path, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join(name).join("rehearsal.log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

pub(crate) fn pin_of_another_fleet() -> Pin {
    Pki::new().pin()
}
