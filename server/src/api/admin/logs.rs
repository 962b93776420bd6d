//! What agents print, as far back as this server keeps it.

use muster_proto::admin::v1::{FollowLogsRequest, LogLine};
use muster_state::NodeId;
use tonic::Request;

use super::{
    Answer,
    call::reading,
    resolve,
    stream::{self, Gone, Reader, Streamed},
};
use crate::{
    api::{status::of_operation, wire::time::timestamp},
    operations::Unsealed,
    sessions::{Line, Sessions},
};

pub(super) fn follow(server: &Unsealed, request: Request<FollowLogsRequest>) -> Answer<Streamed<LogLine>> {
    let FollowLogsRequest { node, no_follow } = reading(request)?;
    let id = server.ledger.read(|state| resolve::node(state, "node", &node).map(|node| node.id.clone()));
    let (id, sessions) = (id.map_err(of_operation)?, server.sessions.clone());
    Ok(stream::start(&server.stopping, move |reader| feed(sessions, id, !no_follow, reader)))
}

async fn feed(sessions: Sessions, node: NodeId, follow: bool, reader: Reader<LogLine>) -> Result<(), Gone> {
    let mut changed = sessions.logged();
    let mut after = 0;
    loop {
        // Before the look, so that a line that comes after it wakes this again.
        changed.mark_unchanged();
        for line in sessions.lines_after(&node, after) {
            after = line.sequence;
            reader.send(render(line)).await?;
        }
        if !follow || changed.changed().await.is_err() {
            return Ok(());
        }
    }
}

fn render(line: Line) -> LogLine {
    LogLine { at: timestamp(line.at_ms), step: line.step, text: line.text }
}

#[cfg(test)]
mod tests;
