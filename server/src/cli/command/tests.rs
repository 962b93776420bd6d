//! Whole commands, from the typed line to what is printed, against a server of this process.

mod change;
mod etcd;
mod read;
mod servers;
mod waiting;

use clap::Parser as _;
use muster_proto::Timestamp as At;
use muster_proto::admin::v1::{Cluster, ClusterSpec, NamedNode, Node, Pool, Status};
use muster_proto::enrolment::v1::Facts;

use super::enrolment::testing::PIN;
use super::{call, refuse_early};
use crate::cli::args::Cli;
use crate::cli::client::Session;
use crate::cli::client::testing::{Fake, World, mk_session};
use crate::cli::console::testing::{Written, mk_console, mk_terminal, noon};
use crate::cli::exit::{Exit, Failure};

/// How a command ended and what it wrote.
struct Ran {
    outcome: Result<Exit, Failure>,
    out: String,
    err: String,
    fake: Fake,
}

impl Ran {
    fn failure(&self) -> &Failure {
        match &self.outcome {
            Ok(exit) => panic!("it ended with {exit:?} and wrote {:?}", self.out),
            Err(failure) => failure,
        }
    }
}

fn parse(line: &str) -> Cli {
    Cli::try_parse_from(std::iter::once("muster").chain(line.split_whitespace())).unwrap()
}

/// Runs `line` where nobody can be asked.
async fn run(line: &str, world: World) -> Ran {
    run_with(line, world, None).await
}

/// Runs `line` at a terminal where somebody types `answer`.
async fn run_with(line: &str, world: World, answer: Option<&str>) -> Ran {
    let (session, fake) = mk_session(world).await;
    let cli = parse(line);
    let (mut console, written) = match answer {
        Some(answer) => mk_terminal(answer),
        None => mk_console(cli.globals.output),
    };
    let outcome = match refuse_early(&cli.command) {
        Ok(()) => Box::pin(call(cli.command, &session, &cli.globals, &mut console)).await,
        Err(failure) => Err(failure),
    };
    Ran { outcome, out: written.out(), err: written.err(), fake }
}

/// Runs `line`, which does not end by itself, until `enough` was written.
async fn run_until(line: &str, world: World, enough: impl Fn(&Written) -> bool) -> (String, Fake) {
    let (session, fake): (Session, Fake) = mk_session(world).await;
    let cli = parse(line);
    let (mut console, written) = mk_console(cli.globals.output);
    let running = Box::pin(call(cli.command, &session, &cli.globals, &mut console));
    let watching = async {
        while !enough(&written) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        outcome = running => panic!("it ended: {:?} {}", outcome.err(), written.out()),
        () = watching => {}
        () = tokio::time::sleep(std::time::Duration::from_secs(20)) => {
            panic!("not enough was written: {:?} {:?}", written.out(), written.err())
        }
    }
    (written.out(), fake)
}

fn at(seconds_ago: i64) -> Option<At> {
    Some(At { seconds: noon().as_second() - seconds_ago, nanos: 0 })
}

fn mk_status() -> Status {
    Status {
        fleet: "f1".into(),
        version: "0.1.0".into(),
        server_id: 1,
        leader_id: 1,
        root_pin: PIN.into(),
        enrolment_urls: vec!["https://192.0.2.1:9443".into()],
        ..Status::default()
    }
}

fn mk_cluster(name: &str) -> Cluster {
    let node = |name: &str| NamedNode { name: name.into(), ..NamedNode::default() };
    let pools = vec![
        Pool { name: "cp".into(), role: "control-plane".into(), ..Pool::default() },
        Pool { name: "w".into(), role: "worker".into(), nodes: vec![node("n1"), node("n2")], ..Pool::default() },
    ];
    let spec = ClusterSpec { name: name.into(), pools, ..ClusterSpec::default() };
    Cluster { id: format!("c-{name}"), spec: Some(spec), created: at(60), ..Cluster::default() }
}

fn mk_node(id: &str, name: &str, phase: &str) -> Node {
    Node {
        id: id.into(),
        name: name.into(),
        role: "worker".into(),
        phase: phase.into(),
        created: at(60),
        attempt: 1,
        key_fingerprint: format!("sha256:{}", "ab".repeat(32)),
        facts_revision: 3,
        facts: Some(Facts { hostname: "localhost".into(), ..Facts::default() }),
        ..Node::default()
    }
}

fn mk_world() -> World {
    World {
        status: mk_status(),
        clusters: vec![mk_cluster("prod")],
        nodes: vec![
            mk_node("7f3c", "n1", "Ready"),
            mk_node("7f99", "n2", "Joining"),
            mk_node("aa01", "", "PendingApproval"),
        ],
        ..World::default()
    }
}
