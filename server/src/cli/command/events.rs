//! `muster events`.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::time::Duration;

use muster_proto::admin::v1::ListEventsRequest;

use super::get::{Feed, Listing};
use crate::cli::args::EventsArgs;
use crate::cli::client::{Patience, Session};
use crate::cli::console::Console;
use crate::cli::exit::{Exit, Failure};

pub(super) async fn run(
    args: &EventsArgs,
    session: &Session,
    cluster: Option<&str>,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let node = match &args.node {
        Some(node) => session.node(node, cluster).await?.id,
        None => String::new(),
    };
    let request = ListEventsRequest {
        cluster: cluster.unwrap_or_default().to_owned(),
        node,
        after: 0,
        since: args.since.map(|since| before(console, since)),
        ..ListEventsRequest::default()
    };
    if args.watch {
        return watch(request, session, console).await;
    }
    let events = session.call(async |mut client| client.list_events(request.clone()).await).await?;
    Listing::Events(events).show(false, console)?;
    Ok(Exit::Done)
}

fn before(console: &Console, ago: Duration) -> muster_proto::Timestamp {
    let ago_s = i64::try_from(ago.as_secs()).unwrap_or(i64::MAX);
    muster_proto::Timestamp { seconds: console.now().as_second().saturating_sub(ago_s), nanos: 0 }
}

/// Prints events as they come; after a broken connection it goes on behind the last one.
pub(super) async fn watch(
    request: ListEventsRequest,
    session: &Session,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let last = Cell::new(request.after);
    let mut feed = Feed::default();
    let open = async || {
        let request = ListEventsRequest { after: last.get(), ..request.clone() };
        session.call(async |mut client| client.watch_events(request.clone()).await).await
    };
    session
        .follow(Patience::Short, open, |event| {
            last.set(last.get().max(event.sequence));
            feed.event(event, console)?;
            Ok(ControlFlow::Continue(()))
        })
        .await?;
    Ok(Exit::Done)
}
