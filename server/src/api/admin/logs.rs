//! What agents print, as far back as the servers keep it. Lines stay with the server that holds an agent's stream, so those of the
//! others are asked for.

use std::{collections::BTreeMap, time::Duration};

use muster_proto::admin::v1::{FollowLogsRequest, LogLine};
use muster_state::NodeId;
use tokio::{sync::mpsc, task::JoinSet, time::interval};
use tonic::Request;

use super::{
    Answer,
    call::reading,
    resolve,
    stream::{self, Gone, Reader, Streamed},
};
use crate::{
    api::{status::of_operation, wire::time::timestamp},
    ledger::Ledger,
    operations::Unsealed,
    peers::{
        Client, Peer, TransportError,
        logs::{self, Cursor, LogAsk, LogPart, WAIT_MAX},
    },
    sessions::{Line, Sessions},
};

/// After a server did not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// New servers are looked for this often while somebody follows.
const LOOK: Duration = Duration::from_secs(5);
/// Lines that wait for the reader, of all servers together.
const WAITING: usize = 64;

pub(super) fn follow(
    server: &Unsealed,
    client: &Client,
    request: Request<FollowLogsRequest>,
) -> Answer<Streamed<LogLine>> {
    let FollowLogsRequest { node, no_follow } = reading(request)?;
    let id = server.ledger.read(|state| resolve::node(state, "node", &node).map(|node| node.id.clone()));
    let id = id.map_err(of_operation)?;
    let (ledger, sessions, client) = (server.ledger.clone(), server.sessions.clone(), client.clone());
    let shelves = move || shelves(&ledger, &sessions, &client);
    Ok(stream::start(&server.stopping, move |reader| feed(shelves, id, !no_follow, reader)))
}

/// Where lines of a node may be.
#[derive(Clone)]
enum Shelf {
    Here(Sessions),
    There { client: Client, id: u64, peer: Peer },
}

/// One for each server, by id.
type Shelves = BTreeMap<u64, Shelf>;

fn shelves(ledger: &Ledger, sessions: &Sessions, client: &Client) -> Shelves {
    let status = ledger.status();
    let others = status.members.into_iter().filter(|(id, _)| *id != status.id);
    let others = others.map(|(id, member)| (id, Shelf::There { client: client.clone(), id, peer: member.peer }));
    others.chain([(status.id, Shelf::Here(sessions.clone()))]).collect()
}

impl Shelf {
    async fn read(&self, ask: &LogAsk) -> Result<LogPart, TransportError> {
        match self {
            // It is asked by itself, in one start.
            Self::Here(sessions) => Ok(logs::read(sessions, 0, ask).await),
            Self::There { client, id, peer } => client.read_log(*id, peer, ask).await,
        }
    }

    /// Everything that is there now, and how far that goes. What a server does not tell is left out.
    async fn all(&self, node: &NodeId) -> (Cursor, Vec<Line>) {
        let mut ask = LogAsk { node: node.clone(), after: Cursor::default(), wait: Duration::ZERO };
        let mut all = Vec::new();
        loop {
            match self.read(&ask).await {
                Ok(LogPart { lines, .. }) if lines.is_empty() => return (ask.after, all),
                Ok(LogPart { upto, lines }) => {
                    ask.after = upto;
                    all.extend(lines);
                }
                Err(error) => {
                    tracing::debug!(%error, "a server did not tell what an agent printed");
                    return (ask.after, all);
                }
            }
        }
    }

    /// Lines as they come, until nobody takes them.
    async fn follow(self, node: NodeId, after: Cursor, lines: mpsc::Sender<Line>) {
        let mut ask = LogAsk { node, after, wait: WAIT_MAX };
        loop {
            let Ok(part) = self.read(&ask).await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            ask.after = part.upto;
            for line in part.lines {
                if lines.send(line).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn feed(shelves: impl Fn() -> Shelves, node: NodeId, follow: bool, reader: Reader<LogLine>) -> Result<(), Gone> {
    let (cursors, kept) = everything(shelves(), &node).await;
    for line in kept {
        reader.send(render(line)).await?;
    }
    if !follow {
        return Ok(());
    }
    let (sender, mut lines) = mpsc::channel(WAITING);
    let (mut followed, mut followers) = (BTreeMap::new(), JoinSet::new());
    let mut look = interval(LOOK);
    loop {
        tokio::select! {
            line = lines.recv() => match line {
                Some(line) => reader.send(render(line)).await?,
                None => return Ok(()),
            },
            _ = look.tick() => for (id, shelf) in shelves() {
                followed.entry(id).or_insert_with(|| {
                    let after = cursors.get(&id).copied().unwrap_or_default();
                    followers.spawn(shelf.follow(node.clone(), after, sender.clone()));
                });
            },
        }
    }
}

/// What all servers keep, in the order in which it came to them, and how far it goes on each.
async fn everything(shelves: Shelves, node: &NodeId) -> (BTreeMap<u64, Cursor>, Vec<Line>) {
    let mut asked = JoinSet::new();
    for (id, shelf) in shelves {
        let node = node.clone();
        asked.spawn(async move { (id, shelf.all(&node).await) });
    }
    let (mut cursors, mut all) = (BTreeMap::new(), Vec::new());
    while let Some(told) = asked.join_next().await {
        if let Ok((id, (upto, lines))) = told {
            cursors.insert(id, upto);
            all.extend(lines);
        }
    }
    // Stable: lines of one server that came together stay in their order.
    all.sort_by_key(|line| line.at_ms);
    (cursors, all)
}

fn render(line: Line) -> LogLine {
    LogLine { at: timestamp(line.at_ms), step: line.step, text: line.text }
}

#[cfg(test)]
mod tests;
