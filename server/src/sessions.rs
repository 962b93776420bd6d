//! Which agents are attached to this server, and the last lines they sent. Not replicated: a stream belongs to the
//! server that holds it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use muster_state::NodeId;
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

/// Lines kept per node: a whole `kubeadm init -v` is about 400.
const LINES_MAX: usize = 1_000;
/// Nodes whose lines are kept: with lines of 1 KiB at most this is 256 MiB at the very worst. The longest silent goes first.
const NODES_WITH_LINES_MAX: usize = 256;

/// A line of a node's output, scrubbed by its agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Grows by one per line and node.
    pub sequence: u64,
    /// When it arrived, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Step id.
    pub step: String,
    /// The text.
    pub text: String,
}

/// Handle to the attached agents of this server.
#[derive(Clone, Default)]
pub struct Sessions {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    // Held for map operations only, never over an await.
    streams: Mutex<Streams>,
    lines: Mutex<BTreeMap<NodeId, VecDeque<Line>>>,
    logged: watch::Sender<u64>,
}

#[derive(Default)]
struct Streams {
    last: u64,
    by_node: BTreeMap<NodeId, (u64, CancellationToken)>,
}

/// One attached stream; detaches when dropped.
pub struct Session {
    sessions: Sessions,
    node: NodeId,
    /// Its number among the streams of this start.
    pub number: u64,
    /// Cancelled when a newer stream of the same node takes over.
    pub replaced: CancellationToken,
}

impl Sessions {
    /// Registers a stream. An older one of the same node ends: a node has one agent.
    pub fn attach(&self, node: &NodeId) -> Session {
        let replaced = CancellationToken::new();
        let mut streams = self.inner.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.last += 1;
        let number = streams.last;
        if let Some((_, old)) = streams.by_node.insert(node.clone(), (number, replaced.clone())) {
            old.cancel();
        }
        Session { sessions: self.clone(), node: node.clone(), number, replaced }
    }

    /// The nodes attached now.
    pub fn attached(&self) -> BTreeSet<NodeId> {
        self.inner.streams.lock().unwrap_or_else(PoisonError::into_inner).by_node.keys().cloned().collect()
    }

    /// Keeps lines of a node; the oldest fall off.
    pub fn log(&self, node: &NodeId, step: &str, lines: Vec<String>, at_ms: u64) {
        let mut all = self.inner.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = all.entry(node.clone()).or_default();
        for text in lines {
            let sequence = kept.back().map_or(1, |line| line.sequence + 1);
            kept.push_back(Line { sequence, at_ms, step: step.to_owned(), text });
            if kept.len() > LINES_MAX {
                kept.pop_front();
            }
        }
        if all.len() > NODES_WITH_LINES_MAX
            && let Some(oldest) = oldest(&all, node)
        {
            all.remove(&oldest);
        }
        drop(all);
        self.inner.logged.send_modify(|count| *count += 1);
    }

    /// Lines of a node after a sequence number.
    pub fn lines_after(&self, node: &NodeId, sequence: u64) -> Vec<Line> {
        let all = self.inner.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = all.get(node).into_iter().flatten();
        kept.filter(|line| line.sequence > sequence).cloned().collect()
    }

    /// The same; waits up to `wait` for the first.
    pub async fn next_lines(&self, node: &NodeId, sequence: u64, wait: Duration) -> Vec<Line> {
        let mut logged = self.inner.logged.subscribe();
        let first = async {
            loop {
                // Before the look, so that a line that comes after it wakes this again.
                logged.mark_unchanged();
                let lines = self.lines_after(node, sequence);
                if !lines.is_empty() || logged.changed().await.is_err() {
                    return lines;
                }
            }
        };
        timeout(wait, first).await.unwrap_or_default()
    }
}

/// The node that has been silent longest, other than the one that speaks now.
fn oldest(all: &BTreeMap<NodeId, VecDeque<Line>>, speaks: &NodeId) -> Option<NodeId> {
    let silent = all.iter().filter(|(node, _)| *node != speaks);
    silent.min_by_key(|(_, lines)| lines.back().map_or(0, |line| line.at_ms)).map(|(node, _)| node.clone())
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut streams = self.sessions.inner.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if streams.by_node.get(&self.node).is_some_and(|(number, _)| *number == self.number) {
            streams.by_node.remove(&self.node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_stream_replaces_the_older_and_outlives_its_end() {
        let (sessions, node) = (Sessions::default(), NodeId::from("n"));
        let old = sessions.attach(&node);
        let new = sessions.attach(&node);
        assert!(old.replaced.is_cancelled() && !new.replaced.is_cancelled());
        drop(old);
        assert!(sessions.attached().contains(&node));
        drop(new);
        assert!(sessions.attached().is_empty());
    }

    #[test]
    fn lines_are_bounded_and_numbered() {
        let (sessions, node) = (Sessions::default(), NodeId::from("n"));
        sessions.log(&node, "init", (0..LINES_MAX + 5).map(|n| n.to_string()).collect(), 1);
        let lines = sessions.lines_after(&node, 0);
        assert_eq!((lines.len(), lines[0].sequence), (LINES_MAX, 6));
        assert_eq!(sessions.lines_after(&node, LINES_MAX as u64 + 4).len(), 1);
    }
}
