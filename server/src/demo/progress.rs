//! What a person watches meanwhile: a bar per role on a terminal, a line per change elsewhere.

use std::{
    collections::BTreeMap,
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use muster_proto::admin::v1::{ListNodesRequest, Node};
use tonic::Streaming;

use crate::cli::client::Session;

/// How long a watch may be without a server before that is an error: a fail-over takes about a second.
const WITHOUT_SERVER_MAX: Duration = Duration::from_secs(30);
/// Before the watch is opened again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A watch on all nodes that goes on with another server when its own is gone.
pub(super) struct Progress<'a> {
    session: &'a Session,
    total: usize,
    began: Instant,
    nodes: BTreeMap<String, Node>,
    stream: Option<Streaming<Node>>,
    bars: Bars,
}

impl<'a> Progress<'a> {
    pub(super) fn new(session: &'a Session, total: usize) -> Self {
        Self { session, total, began: Instant::now(), nodes: BTreeMap::new(), stream: None, bars: Bars::new(total) }
    }

    /// Watches until `reached`; replies with the nodes as they are then, control planes first.
    pub(super) async fn until(
        &mut self,
        reached: impl Fn(&BTreeMap<String, Node>) -> bool,
    ) -> anyhow::Result<Vec<Node>> {
        while !reached(&self.nodes) {
            let node = self.next().await?;
            let before = self.nodes.insert(node.id.clone(), node.clone());
            if before.is_none_or(|before| before.phase != node.phase) {
                self.bars.moved(&node, &self.nodes, self.began);
            }
        }
        let mut nodes: Vec<Node> = self.nodes.values().cloned().collect();
        nodes.sort_by(|a, b| (&a.role, a.name.len(), &a.name).cmp(&(&b.role, b.name.len(), &b.name)));
        Ok(nodes)
    }

    /// How many are Ready, of how many.
    pub(super) fn ready(&self) -> (usize, usize) {
        (ready(&self.nodes), self.total)
    }

    /// A line between the others.
    pub(super) fn say(&self, line: &str) {
        self.bars.say(line, self.began);
    }

    pub(super) fn finish(&self) {
        self.bars.finish();
    }

    async fn next(&mut self) -> anyhow::Result<Node> {
        let mut without_server = None;
        loop {
            if let Some(stream) = &mut self.stream {
                if let Ok(Some(node)) = stream.message().await {
                    return Ok(node);
                }
                self.stream = None;
            }
            let since = *without_server.get_or_insert_with(Instant::now);
            let request = ListNodesRequest::default();
            match self.session.call(async |mut client| client.watch_nodes(request.clone()).await).await {
                Ok(stream) => self.stream = Some(stream),
                Err(failure) if since.elapsed() > WITHOUT_SERVER_MAX => return Err(failure.into()),
                Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
            }
        }
    }
}

fn ready(nodes: &BTreeMap<String, Node>) -> usize {
    nodes.values().filter(|node| node.phase == "Ready").count()
}

struct Bars {
    all: Option<(MultiProgress, ProgressBar)>,
    total: usize,
}

impl Bars {
    fn new(total: usize) -> Self {
        let all = std::io::stderr().is_terminal().then(|| {
            let (multi, length) = (MultiProgress::new(), u64::try_from(total).unwrap_or(u64::MAX));
            let bar = multi.add(ProgressBar::new(length));
            if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} [{bar:40}] {pos}/{len} Ready  {msg}") {
                bar.set_style(style);
            }
            (multi, bar)
        });
        Self { all, total }
    }

    fn moved(&self, node: &Node, nodes: &BTreeMap<String, Node>, began: Instant) {
        let ready = ready(nodes);
        match &self.all {
            None => eprintln!(
                "{:7.3}s  {:<10} {:<22} ({ready}/{} Ready)",
                began.elapsed().as_secs_f64(),
                node.name,
                node.phase,
                self.total
            ),
            Some((_, bar)) => {
                let mut phases: BTreeMap<&str, usize> = BTreeMap::new();
                nodes.values().for_each(|node| *phases.entry(&node.phase).or_default() += 1);
                let histogram: Vec<String> = phases.iter().map(|(phase, count)| format!("{phase} {count}")).collect();
                bar.set_position(u64::try_from(ready).unwrap_or_default());
                bar.set_message(histogram.join("  "));
            }
        }
    }

    fn say(&self, line: &str, began: Instant) {
        let line = format!("{:7.3}s  {line}", began.elapsed().as_secs_f64());
        // A terminal that does not take the line has nobody who would read it.
        match &self.all {
            None => eprintln!("{line}"),
            Some((all, _)) => drop(all.println(line)),
        }
    }

    fn finish(&self) {
        if let Some((_, bar)) = &self.all {
            bar.finish_and_clear();
        }
    }
}
