//! Killing the server that leads, and showing that it cost a pause and nothing else.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use muster_proto::admin::v1::{Event, ListEventsRequest, Node, Status};
use tokio::time::{Instant, sleep};

use super::{progress::Progress, servers::Servers, status_of};
use crate::cli::client::Session;

/// A vote takes about a second; a busy machine needs more.
const ELECTION_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks at who leads.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What had been acknowledged when the leader died.
pub(super) struct Before {
    events: Vec<Event>,
}

/// Kills it with SIGKILL and waits until another one leads.
pub(super) async fn kill_the_leader(
    session: &Session,
    servers: &mut Servers,
    progress: &mut Progress<'_>,
) -> anyhow::Result<Before> {
    let events = events(session).await?;
    let old = status_of(session).await?;
    ensure!(old.leader_id != 0, "no server leads");
    servers.kill(old.leader_id)?;
    let killed = Instant::now();
    let (ready, total) = progress.ready();
    progress.say(&format!(
        "Killed server {} (SIGKILL), which led in term {}, with {ready} of {total} machines Ready.",
        old.leader_id, old.raft_term
    ));
    let new = successor(session, &old).await?;
    let gap = killed.elapsed().as_secs_f64();
    progress.say(&format!("Server {} leads in term {}, {gap:.2} s later.", new.leader_id, new.raft_term));
    Ok(Before { events })
}

async fn successor(session: &Session, old: &Status) -> anyhow::Result<Status> {
    let deadline = Instant::now() + ELECTION_WITHIN;
    loop {
        match status_of(session).await {
            Ok(status) if status.leader_id != 0 && status.raft_term > old.raft_term => return Ok(status),
            Ok(_) => {}
            Err(err) => ensure!(Instant::now() < deadline, "no server answers: {err:#}"),
        }
        ensure!(Instant::now() < deadline, "nobody leads within {ELECTION_WITHIN:?}");
        sleep(LOOK_AGAIN).await;
    }
}

/// Compares what is there with what was: a sentence, or an error that names what is missing.
pub(super) async fn nothing_was_lost(session: &Session, before: &Before, nodes: &[Node]) -> anyhow::Result<String> {
    let now = events(session).await?;
    for event in &before.events {
        let same = now.iter().find(|other| other.sequence == event.sequence);
        let same = same.with_context(|| format!("event {} ({}) is gone", event.sequence, event.reason))?;
        ensure!(same == event, "event {} is another one now: {} was {}", event.sequence, same.reason, event.reason);
    }
    let again: Vec<&str> = nodes.iter().filter(|node| node.attempt != 1).map(|node| node.name.as_str()).collect();
    ensure!(again.is_empty(), "these machines had to begin anew: {}", again.join(", "));
    Ok(format!(
        "Nothing was lost: all {} events from before the kill are there, and every machine is in its first attempt.",
        before.events.len()
    ))
}

async fn events(session: &Session) -> anyhow::Result<Vec<Event>> {
    let request = ListEventsRequest::default();
    Ok(session.call(async |mut client| client.list_events(request.clone()).await).await?.items)
}
