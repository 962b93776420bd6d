//! `muster demo`: three servers and a fleet of rehearsed machines on loopback; the server that leads is killed half-way.
//! Everything is real (processes, sockets, TLS, Raft, disks, the agents' own loop, journal and enrolment) except the kubeadm
//! call itself.

mod fail_over;
mod machine;
mod progress;
mod servers;
mod summary;

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context as _, bail};
use muster_proto::admin::v1::{
    ApplyClusterRequest, Cluster, ClusterSpec, CreateTokenRequest, GetStatusRequest, ListNodesRequest, NamedNode, Node,
    Pool, Status,
};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{
        args::DemoArgs,
        client::{Session, request_id},
        muster_token::MusterToken,
    },
    config::Log,
};
use progress::Progress;
use servers::Servers;

/// The whole demo takes seconds; a machine that is not Ready by then never will be.
const DEADLINE: Duration = Duration::from_secs(180);
/// The cluster that is formed.
const CLUSTER: &str = "demo";
const KUBERNETES: &str = "v1.36.2";

/// Runs the demo; an error unless every machine became Ready and nothing was lost.
pub async fn run(args: DemoArgs) -> anyhow::Result<()> {
    crate::logging::start(&Log { level: "warn,openraft=error,muster_agent=error".into(), ..Log::default() })?;
    let home = tempfile::Builder::new().prefix("muster-demo-").tempdir()?;
    let shutdown = CancellationToken::new();
    let mut servers = Servers::new(home.path())?;
    let outcome = tokio::select! {
        outcome = play(&args, home.path(), &mut servers, &shutdown) => outcome,
        () = interrupted() => Err(anyhow::anyhow!("interrupted")),
    };
    if args.keep && outcome.is_ok() {
        let path = servers::context_file(home.path());
        eprintln!("\nStill running. Try: MUSTER_CONFIG={} muster get nodes -o wide   (Ctrl-C ends it)", path.display());
        interrupted().await;
    }
    shutdown.cancel();
    servers.stop().await?;
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

async fn play(args: &DemoArgs, home: &Path, servers: &mut Servers, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let context = servers.found().await?;
    let session = Session::of_context(&context, None)?;
    let mut status = status_of(&session).await?;
    for number in 2..=args.servers {
        servers.add(&session, &status.root_pin).await.with_context(|| format!("server {number}"))?;
    }
    let context = servers.know_all(&session, context).await?;
    let session = Session::of_context(&context, None)?;
    let spec = spec(args);
    let total = spec.pools.iter().map(|pool| pool.nodes.len()).sum();
    eprintln!(
        "{}, {total} rehearsed machines, all on loopback. kubeadm is rehearsed; everything else is real.",
        if args.servers == 1 { "One server".to_owned() } else { format!("{} servers, each a voter", args.servers) }
    );
    status.enrolment_urls = servers.enrolment_urls();
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
    tokio::select! {
        outcome = watch(&session, servers, total, args.servers) => outcome,
        ended = first_failure(&mut machines) => bail!("a machine's agent ended: {ended}"),
    }
}

/// Watches until all machines are Ready. Half-way the server that leads is killed, if others can take over.
async fn watch(session: &Session, servers: &mut Servers, total: usize, count: u32) -> anyhow::Result<()> {
    let deadline = Instant::now() + DEADLINE;
    let mut progress = Progress::new(session, total);
    let mut before = None;
    if count > 2 {
        timeout_at(deadline, progress.until(|nodes| is_half_way(nodes, total))).await??;
        before = Some(fail_over::kill_the_leader(session, servers, &mut progress).await?);
    }
    let ended = timeout_at(deadline, progress.until(|nodes| is_ready(nodes, total))).await;
    servers.check()?;
    let nodes = match ended {
        Ok(nodes) => nodes?,
        Err(_) => nodes_now(session).await?,
    };
    progress.finish();
    let ready = summary::print(&nodes, total);
    if ready < total {
        bail!("{ready} of {total} machines became Ready");
    }
    if let Some(before) = before {
        println!("{}", fail_over::nothing_was_lost(session, &before, &nodes).await?);
    }
    Ok(())
}

fn is_ready(nodes: &BTreeMap<String, Node>, total: usize) -> bool {
    nodes.len() == total && nodes.values().all(|node| node.phase == "Ready")
}

/// Half of the machines are in the middle of their join, or further.
fn is_half_way(nodes: &BTreeMap<String, Node>, total: usize) -> bool {
    const UNDER_WAY: &[&str] =
        &["Joining", "Preparing", "WaitingForEtcdPermit", "JoiningEtcd", "Finishing", "WaitingForNodeReady", "Ready"];
    nodes.values().filter(|node| UNDER_WAY.contains(&node.phase.as_str())).count() * 2 >= total
}

async fn status_of(session: &Session) -> anyhow::Result<Status> {
    Ok(session.call(async |mut client| client.get_status(GetStatusRequest {}).await).await?)
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
