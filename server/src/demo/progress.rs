//! What a person watches meanwhile: a bar per role on a terminal, a line per change elsewhere.

use std::{collections::BTreeMap, io::IsTerminal as _, time::Instant};

use anyhow::bail;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use muster_proto::admin::v1::{ListNodesRequest, Node};

use crate::cli::client::Session;

/// Watches until all nodes are Ready; replies with them.
pub(super) async fn until_ready(session: &Session, total: usize) -> anyhow::Result<Vec<Node>> {
    let request = ListNodesRequest::default();
    let mut stream = session.call(async |mut client| client.watch_nodes(request.clone()).await).await?;
    let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
    let (bars, began) = (Bars::new(total), Instant::now());
    while let Some(node) = stream.message().await? {
        let before = nodes.insert(node.id.clone(), node.clone());
        if before.is_none_or(|before| before.phase != node.phase) {
            bars.moved(&node, &nodes, began);
        }
        if nodes.len() == total && nodes.values().all(|node| node.phase == "Ready") {
            bars.finish();
            let mut nodes: Vec<Node> = nodes.into_values().collect();
            nodes.sort_by(|a, b| (&a.role, a.name.len(), &a.name).cmp(&(&b.role, b.name.len(), &b.name)));
            return Ok(nodes);
        }
    }
    bail!("the server ended the watch")
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
        let ready = nodes.values().filter(|node| node.phase == "Ready").count();
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

    fn finish(&self) {
        if let Some((_, bar)) = &self.all {
            bar.finish_and_clear();
        }
    }
}
