//! `muster wait`: until a node or a cluster is as told; says on the way what moves.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use muster_proto::admin::v1::{Cluster, ListNodesRequest, Node};

use crate::cli::args::{Condition, Format, Globals, Subject, WaitArgs};
use crate::cli::client::{Patience, Session};
use crate::cli::console::{Console, Document, plain, span};
use crate::cli::exit::{Exit, Failure};
use crate::cli::show;

/// How long is waited if `--timeout` does not say: a fleet that boots from the network takes minutes.
const WAIT: Duration = Duration::from_secs(30 * 60);
/// How often is asked, for what no stream tells.
const POLL: Duration = Duration::from_secs(1);

pub(super) async fn run(
    args: &WaitArgs,
    session: &Session,
    globals: &Globals,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let limit = globals.timeout.unwrap_or(WAIT);
    let seen = RefCell::new(String::from("nothing was seen of it"));
    let waiting = async {
        match (&args.subject, &args.condition) {
            (Subject::Node(id), Condition::Phase(phase)) => {
                Box::pin(node(id, phase, globals.cluster.as_deref(), session, &seen, console)).await
            }
            (Subject::Cluster(name), Condition::Ready { control_planes, workers }) => {
                let wanted = Wanted { control_planes: control_planes.unwrap_or(0), workers: workers.unwrap_or(0) };
                Box::pin(cluster(name, wanted, session, &seen, console)).await
            }
            (Subject::Node(_), Condition::Ready { .. }) => Err(wrong("a node is waited for with --for phase=Ready")),
            (Subject::Cluster(_), Condition::Phase(_)) => {
                Err(wrong("a cluster is waited for with --for control-planes=3,workers=40"))
            }
        }
    };
    match tokio::time::timeout(limit, waiting).await {
        Ok(ended) => ended.map(|()| Exit::Done),
        Err(_) => Err(Failure::new(
            Exit::TimedOut,
            format!("timed out after {}; last seen: {}", span(limit.as_secs()), seen.borrow()),
        )
        .with_next(match &args.subject {
            Subject::Node(id) => format!("muster describe node {id}"),
            Subject::Cluster(name) => format!("muster get nodes --cluster {name}"),
        })),
    }
}

fn wrong(message: &str) -> Failure {
    Failure::new(Exit::Usage, message)
}

/// Waits for a phase of a node, which need not exist yet: named nodes enrol when they boot.
async fn node(
    id: &str,
    phase: &str,
    cluster: Option<&str>,
    session: &Session,
    seen: &RefCell<String>,
    console: &mut Console,
) -> Result<(), Failure> {
    let found = appeared(id, cluster, session, seen, console).await?;
    let request = ListNodesRequest { node: found.id.clone(), ..ListNodesRequest::default() };
    let open = async || session.call(async |mut client| client.watch_nodes(request.clone()).await).await;
    let mut last = None;
    let watching = session.follow(Patience::Endless, open, |node| {
        if node.id != found.id {
            return Ok(ControlFlow::Continue(()));
        }
        *seen.borrow_mut() = progress_of(&node);
        if show::is_phase(&node, phase) {
            last = Some(node);
            return Ok(ControlFlow::Break(()));
        }
        console.say(&progress_of(&node));
        Ok(ControlFlow::Continue(()))
    });
    watching.await?;
    let node = last.unwrap_or(found);
    match console.format {
        Format::Json | Format::Yaml => console.document(&Document::new("Node", &node)),
        Format::Name => console.data(&plain(&show::node_name(&node))),
        Format::Table | Format::Wide => {
            console.data(&format!("{} is {}", plain(&show::node_name(&node)), plain(&show::shown_phase(&node))))
        }
    }
}

async fn appeared(
    id: &str,
    cluster: Option<&str>,
    session: &Session,
    seen: &RefCell<String>,
    console: &mut Console,
) -> Result<Node, Failure> {
    let mut said = false;
    loop {
        match session.node(id, cluster).await {
            Err(failure) if failure.exit == Exit::Conflict && failure.message.starts_with("no node") => {
                if !std::mem::replace(&mut said, true) {
                    seen.borrow_mut().clone_from(&failure.message);
                    console.say(&format!("{}: waiting for it to enrol", failure.message));
                }
                tokio::time::sleep(POLL).await;
            }
            found => return found,
        }
    }
}

/// `n1: JoiningEtcd (why)`.
fn progress_of(node: &Node) -> String {
    let text = format!("{}: {}", plain(show::label(node)), plain(&show::shown_phase(node)));
    if node.message.is_empty() { text } else { format!("{text} ({})", plain(&node.message)) }
}

#[derive(Debug, Clone, Copy)]
struct Wanted {
    control_planes: u32,
    workers: u32,
}

impl Wanted {
    fn is_met_by(self, cluster: &Cluster) -> bool {
        cluster.control_planes_ready >= self.control_planes && cluster.workers_ready >= self.workers
    }

    fn progress(self, cluster: &Cluster) -> String {
        format!(
            "control planes {}/{}, workers {}/{}",
            cluster.control_planes_ready, self.control_planes, cluster.workers_ready, self.workers
        )
    }
}

/// Waits until so many nodes are Ready. The server's own count decides; the stream of nodes only shows what moves.
async fn cluster(
    name: &str,
    wanted: Wanted,
    session: &Session,
    seen: &RefCell<String>,
    console: &mut Console,
) -> Result<(), Failure> {
    let found = session.cluster(name).await?;
    let name = show::cluster_name(&found).to_owned();
    let request = ListNodesRequest { cluster: name.clone(), ..ListNodesRequest::default() };
    let open = async || session.call(async |mut client| client.watch_nodes(request.clone()).await).await;
    let bar = console.progress_bar();
    let moved = RefCell::new(Moved::default());
    let words = RefCell::new(console);
    let watching = session.follow(Patience::Endless, open, |node| {
        if moved.borrow_mut().is_news(&node) {
            bar.suspend(|| words.borrow_mut().say(&progress_of(&node)));
        }
        Ok(ControlFlow::Continue(()))
    });
    let counting = async {
        loop {
            match session.cluster(&name).await {
                Ok(cluster) => {
                    let progress = wanted.progress(&cluster);
                    bar.set_message(progress.clone());
                    *seen.borrow_mut() = progress;
                    if wanted.is_met_by(&cluster) {
                        return Ok(cluster);
                    }
                }
                // It was there a moment ago: an election, or a restart.
                Err(failure) if failure.exit == Exit::Unreachable => bar.set_message("no server can be used"),
                Err(failure) => return Err(failure),
            }
            tokio::time::sleep(POLL).await;
        }
    };
    let ended = tokio::select! {
        ended = counting => ended,
        broken = watching => broken.map(|()| found),
    };
    bar.finish_and_clear();
    let rehearsed = if moved.borrow().rehearsed { " (rehearsed)" } else { "" };
    let cluster = ended?;
    let console = words.into_inner();
    match console.format {
        Format::Json | Format::Yaml => console.document(&Document::new("Cluster", &cluster)),
        Format::Name => console.data(&plain(&format!("cluster/{name}"))),
        Format::Table | Format::Wide => {
            console.data(&plain(&format!("cluster/{name} is Ready{rehearsed}: {}", wanted.progress(&cluster))))
        }
    }
}

/// What was said of each node, so that only changes of phase are news.
#[derive(Debug, Default)]
struct Moved {
    phases: BTreeMap<String, String>,
    rehearsed: bool,
}

impl Moved {
    fn is_news(&mut self, node: &Node) -> bool {
        self.rehearsed |= node.rehearsed;
        let before = self.phases.insert(node.id.clone(), node.phase.clone());
        before.as_deref() != Some(node.phase.as_str())
    }
}
