//! What came out: each machine, and how long each phase took.

use std::collections::BTreeMap;

use muster_proto::admin::v1::Node;

/// Prints the summary to standard output; replies with how many are Ready.
pub(super) fn print(nodes: &[Node], total: usize) -> usize {
    let ready = nodes.iter().filter(|node| node.phase == "Ready").count();
    println!("{:<12} {:<14} {:<20} {:>9}", "NAME", "ROLE", "PHASE", "TOOK");
    for node in nodes {
        let rehearsed = if node.rehearsed { " (rehearsed)" } else { "" };
        let phase = format!("{}{rehearsed}", node.phase);
        println!("{:<12} {:<14} {:<20} {:>8.2}s", node.name, node.role, phase, seconds(took_ms(node)));
    }
    println!("\n{:<22} {:>8} {:>9} {:>9}", "PHASE", "MACHINES", "MEDIAN", "LONGEST");
    for (phase, mut spans) in phases(nodes) {
        spans.sort_unstable();
        let (median, longest) = (spans[spans.len() / 2], spans[spans.len() - 1]);
        println!("{phase:<22} {:>8} {:>8.2}s {:>8.2}s", spans.len(), seconds(median), seconds(longest));
    }
    println!("\n{ready} of {total} Ready (rehearsed: everything is real but the kubeadm call)");
    ready
}

/// Time spent in each phase by each machine that passed it, in the order in which phases were first entered.
fn phases(nodes: &[Node]) -> Vec<(String, Vec<u64>)> {
    let (mut spans, mut first): (BTreeMap<&str, Vec<u64>>, BTreeMap<&str, u64>) = Default::default();
    for span in nodes.iter().flat_map(|node| &node.timeline).filter(|span| span.left_unix_ms != 0) {
        spans.entry(&span.phase).or_default().push(span.left_unix_ms.saturating_sub(span.entered_unix_ms));
        let entered = first.entry(&span.phase).or_insert(span.entered_unix_ms);
        *entered = (*entered).min(span.entered_unix_ms);
    }
    let mut all: Vec<_> = spans.into_iter().map(|(phase, spans)| (phase.to_owned(), spans)).collect();
    all.sort_by_key(|(phase, _)| first.get(phase.as_str()).copied());
    all
}

fn took_ms(node: &Node) -> u64 {
    let start = node.timeline.first().map_or(0, |span| span.entered_unix_ms);
    let end = node.timeline.last().map_or(0, |span| span.entered_unix_ms);
    end.saturating_sub(start)
}

#[expect(clippy::cast_precision_loss, reason = "for a person's eyes")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}
