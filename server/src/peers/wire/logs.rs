//! Lines of agents, among servers.

use std::time::Duration;

use muster_proto::internal::raft::v1::{Envelope, LogLine, ReadLogRequest, ReadLogResponse};

use crate::peers::logs::{Cursor, LogAsk, LogPart};
use crate::sessions::Line;

/// Renders the question.
pub fn render_ask(envelope: Envelope, ask: &LogAsk) -> ReadLogRequest {
    let LogAsk { node, after: Cursor { start, sequence }, wait } = ask;
    ReadLogRequest {
        envelope: Some(envelope),
        node_id: node.to_string(),
        start: *start,
        after: *sequence,
        wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
    }
}

/// Reads the question.
pub fn parse_ask(request: ReadLogRequest) -> LogAsk {
    let ReadLogRequest { envelope: _, node_id, start, after: sequence, wait_ms } = request;
    let wait = Duration::from_millis(wait_ms.into());
    LogAsk { node: node_id.as_str().into(), after: Cursor { start, sequence }, wait }
}

/// Renders the answer.
pub fn render(part: LogPart) -> ReadLogResponse {
    let line = |Line { sequence, at_ms, step, text }| LogLine { sequence, at_unix_ms: at_ms, step, text };
    ReadLogResponse { start: part.upto.start, lines: part.lines.into_iter().map(line).collect() }
}

/// Reads the answer to `ask`.
pub fn parse(ask: &LogAsk, response: ReadLogResponse) -> LogPart {
    let ReadLogResponse { start, lines } = response;
    let line = |LogLine { sequence, at_unix_ms: at_ms, step, text }| Line { sequence, at_ms, step, text };
    let lines: Vec<_> = lines.into_iter().map(line).collect();
    let before = if ask.after.start == start { ask.after.sequence } else { 0 };
    let sequence = lines.last().map_or(before, |last: &Line| last.sequence);
    LogPart { upto: Cursor { start, sequence }, lines }
}
