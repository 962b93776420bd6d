//! `muster demo`: a server and a fleet of rehearsed machines on loopback. Everything is real (sockets, TLS, Raft, disk,
//! the agents' own loop, journal and enrolment) except the kubeadm call itself.

mod machine;
mod progress;
mod summary;

use std::{path::Path, time::Duration};

use anyhow::{Context as _, bail};
use muster_proto::admin::v1::{
    ApplyClusterRequest, Cluster, ClusterSpec, CreateTokenRequest, ListNodesRequest, NamedNode, Node, Pool,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    app::{self, FirstContext, Progress as Startup, Sockets},
    cli::{
        args::DemoArgs,
        client::{Session, request_id},
        context::Context,
        muster_token::MusterToken,
    },
    config::{Config, Log},
    operations::Unsealed,
};

/// The whole demo takes seconds; a machine that is not Ready by then never will be.
const DEADLINE: Duration = Duration::from_secs(180);
/// The cluster that is formed.
const CLUSTER: &str = "demo";
const KUBERNETES: &str = "v1.36.2";

/// Runs the demo; an error unless every machine became Ready.
pub async fn run(args: DemoArgs) -> anyhow::Result<()> {
    crate::logging::start(&Log { level: "warn,openraft=error".into(), ..Log::default() })?;
    let home = tempfile::Builder::new().prefix("muster-demo-").tempdir()?;
    let shutdown = CancellationToken::new();
    let (ready, serving) = tokio::sync::oneshot::channel();
    let server = tokio::spawn(serve(home.path().to_owned(), ready, shutdown.clone()));
    let context = tokio::select! {
        context = serving => context.context("the server ended before it served")?,
        () = interrupted() => return Ok(()),
    };
    let outcome = tokio::select! {
        outcome = bring_up(&args, home.path(), &context, &shutdown) => outcome,
        () = interrupted() => Err(anyhow::anyhow!("interrupted")),
    };
    if args.keep && outcome.is_ok() {
        let path = home.path().join("config.toml");
        eprintln!("\nStill running. Try: MUSTER_CONFIG={} muster get nodes -o wide   (Ctrl-C ends it)", path.display());
        interrupted().await;
    }
    shutdown.cancel();
    server.await.context("the server's task")??;
    if args.keep {
        eprintln!("Kept: {}", home.keep().display());
    }
    outcome
}

async fn interrupted() {
    // Without signals nothing can interrupt us but the end.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn serve(
    home: std::path::PathBuf,
    ready: tokio::sync::oneshot::Sender<Context>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut config = Config::default();
    config.server.data_dir = home.join("data");
    config.server.listen = std::net::Ipv4Addr::LOCALHOST.into();
    config.server.advertise = Some("127.0.0.1".into());
    let ports = &mut config.server.ports;
    for port in [&mut ports.enrolment, &mut ports.nodes, &mut ports.operators, &mut ports.peers, &mut ports.http] {
        *port = 0;
    }
    let sockets = Sockets::bind(&config).await?;
    let startup = DemoStartup { home, ready: std::sync::Mutex::new(Some(ready)) };
    app::serve(config, sockets, &startup, shutdown).await
}

/// Hands the operator's credentials of the fresh fleet on.
struct DemoStartup {
    home: std::path::PathBuf,
    ready: std::sync::Mutex<Option<tokio::sync::oneshot::Sender<Context>>>,
}

impl Startup for DemoStartup {
    fn key_made(&self, _: &Path) {}

    fn sealed(&self, why: &str) {
        eprintln!("The server is sealed: {why}");
    }

    fn serving(&self, _: &Unsealed, first: Option<&FirstContext>) {
        let Some(first) = first else { return };
        let written = first.write(&self.home.join("config.toml"), CLUSTER);
        let sender = self.ready.lock().ok().and_then(|mut ready| ready.take());
        match (written, sender) {
            (Ok(context), Some(ready)) => drop(ready.send(context)),
            (Err(err), _) => eprintln!("The operator's credentials can't be written: {err:#}"),
            (Ok(_), None) => {}
        }
    }
}

async fn bring_up(args: &DemoArgs, home: &Path, context: &Context, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let session = Session::of_context(context, None)?;
    let spec = spec(args);
    let total = spec.pools.iter().map(|pool| pool.nodes.len()).sum();
    eprintln!(
        "One server, {total} rehearsed machines, all on loopback. kubeadm is rehearsed; everything else is real."
    );
    let status =
        session.call(async |mut client| client.get_status(muster_proto::admin::v1::GetStatusRequest {}).await).await?;
    let cluster = create(&session, spec.clone()).await?;
    let pin = cluster.ca_pins.first().map_or("", String::as_str);
    eprintln!("Cluster {CLUSTER} has its CA ({pin}), tokens and certificate key; none of its machines exists yet.");
    let mut machines = JoinSet::new();
    for (number, (pool, node)) in
        spec.pools.iter().flat_map(|pool| pool.nodes.iter().map(move |node| (pool, node))).enumerate()
    {
        let token = token(&session, pool, node).await?;
        let machine = machine::Machine::new(number, node, &status, home, token)?;
        machines.spawn(machine.run(shutdown.child_token()));
    }
    let watching = progress::until_ready(&session, total);
    let nodes = tokio::select! {
        nodes = tokio::time::timeout(DEADLINE, watching) => nodes,
        ended = first_failure(&mut machines) => bail!("a machine's agent ended: {ended}"),
    };
    let nodes = match nodes {
        Ok(nodes) => nodes?,
        Err(_) => nodes_now(&session).await?,
    };
    let ready = summary::print(&nodes, total);
    if ready < total {
        bail!("{ready} of {total} machines became Ready");
    }
    Ok(())
}

/// Agents stay attached; one that ends has failed.
async fn first_failure(machines: &mut JoinSet<anyhow::Result<()>>) -> String {
    match machines.join_next().await {
        Some(Ok(Err(err))) => format!("{err:#}"),
        Some(Ok(Ok(()))) => "without being told to".into(),
        Some(Err(err)) => err.to_string(),
        None => std::future::pending().await,
    }
}

async fn nodes_now(session: &Session) -> anyhow::Result<Vec<Node>> {
    let request = ListNodesRequest::default();
    Ok(session.call(async |mut client| client.list_nodes(request.clone()).await).await?.items)
}

fn spec(args: &DemoArgs) -> ClusterSpec {
    let nodes = |prefix: &'static str, count: u32, first: u32| -> Vec<NamedNode> {
        let node = |n| NamedNode {
            name: format!("{prefix}-{n}"),
            address: format!("192.0.2.{}", (first + n) % 250 + 1),
            ..NamedNode::default()
        };
        (1..=count).map(node).collect()
    };
    let pool = |name: &str, role: &str, nodes: Vec<NamedNode>| Pool {
        name: name.into(),
        role: role.into(),
        admission: "bound".into(),
        count: u32::try_from(nodes.len()).unwrap_or(u32::MAX),
        nodes,
        ..Pool::default()
    };
    let control_planes: Vec<NamedNode> = nodes("cp", args.control_planes, 10);
    let endpoint = format!("{}:6443", control_planes.first().map_or("192.0.2.12", |node| &node.address));
    ClusterSpec {
        name: CLUSTER.into(),
        kubernetes_version: KUBERNETES.into(),
        endpoint,
        key_algorithm: "ECDSA-P256".into(),
        pools: vec![
            pool("cp", "control-plane", control_planes),
            pool("worker", "worker", nodes("worker", args.workers, 100)),
        ],
        ..ClusterSpec::default()
    }
}

async fn create(session: &Session, spec: ClusterSpec) -> anyhow::Result<Cluster> {
    let request = ApplyClusterRequest { request_id: request_id(), spec: Some(spec), dry_run: false };
    let applied = session.call(async |mut client| client.apply_cluster(request.clone()).await).await?;
    applied.cluster.context("the server's answer has no cluster")
}

/// A single-use token bound to one node; only its hash is sent, as by `muster token create`.
async fn token(session: &Session, pool: &Pool, node: &NamedNode) -> anyhow::Result<MusterToken> {
    let token = MusterToken::generate()?;
    let request = CreateTokenRequest {
        request_id: request_id(),
        id: token.id().to_owned(),
        sha256: token.sha256().to_vec(),
        cluster: CLUSTER.into(),
        pool: pool.name.clone(),
        node_name: node.name.clone(),
        uses: 1,
        ..CreateTokenRequest::default()
    };
    session.call(async |mut client| client.create_token(request.clone()).await).await?;
    Ok(token)
}
