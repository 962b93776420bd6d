//! What a node's agent printed, as far as another server keeps it: lines belong to the server that holds the stream.

use std::time::Duration;

use muster_state::NodeId;

use crate::sessions::{Line, Sessions};

/// Longer than an answer waits for a line: the asker comes again.
pub const WAIT_MAX: Duration = Duration::from_secs(20);
/// Lines of one answer, each of 1 KiB at most.
const LINES_MAX: usize = 500;

/// How far a reader has got in what a server keeps of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Which start of the server it read from.
    pub start: u64,
    /// The last line.
    pub sequence: u64,
}

/// Asks for what comes after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogAsk {
    /// The node.
    pub node: NodeId,
    /// After what.
    pub after: Cursor,
    /// How long the answer may wait for a line; at most [`WAIT_MAX`].
    pub wait: Duration,
}

/// Lines, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPart {
    /// How far they go.
    pub upto: Cursor,
    /// More may be there. None: nothing came while it waited.
    pub lines: Vec<Line>,
}

/// Answers as start number `start` of this server.
pub async fn read(sessions: &Sessions, start: u64, ask: &LogAsk) -> LogPart {
    let after = if ask.after.start == start { ask.after.sequence } else { 0 };
    let mut lines = sessions.next_lines(&ask.node, after, ask.wait.min(WAIT_MAX)).await;
    lines.truncate(LINES_MAX);
    let sequence = lines.last().map_or(after, |line| line.sequence);
    LogPart { upto: Cursor { start, sequence }, lines }
}
