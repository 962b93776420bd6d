//! `muster get`: lists, and what changes in them.

mod feed;
mod listing;

use std::ops::ControlFlow;
use std::time::Duration;

use muster_proto::admin::v1::{
    ClusterList, EventList, ListClustersRequest, ListEventsRequest, ListNodesRequest, ListPermitsRequest,
    ListServersRequest, ListTokensRequest, NodeList, PermitList, ServerList, TokenList,
};

pub(super) use feed::Feed;
pub(super) use listing::Listing;

use super::events;
use crate::cli::args::{GetArgs, Kind};
use crate::cli::client::{Patience, Session};
use crate::cli::console::Console;
use crate::cli::exit::{Exit, Failure};
use crate::cli::show::{PoolItem, PoolList};

/// How often a list is asked for again with `--watch`, where the server has no stream of its changes.
const POLL: Duration = Duration::from_secs(2);

pub(super) async fn run(
    args: &GetArgs,
    session: &Session,
    cluster: Option<&str>,
    console: &mut Console,
) -> Result<Exit, Failure> {
    if args.selector.is_some() && matches!(args.kind, Kind::Clusters | Kind::Permits | Kind::Servers | Kind::Events) {
        return Err(Failure::new(
            Exit::Usage,
            "clusters, permits, servers and events have no labels, so -l cannot pick among them",
        ));
    }
    match (args.watch, args.kind) {
        (false, _) => {
            let mut listing = fetch(args, session, cluster).await?;
            listing.keep(args.selector.as_ref());
            listing.show(args.id.is_some(), console)?;
            Ok(Exit::Done)
        }
        (true, Kind::Nodes) => watch_nodes(args, session, cluster, console).await,
        (true, Kind::Events) => {
            let request = events_of(cluster);
            events::watch(request, session, console).await
        }
        (true, _) => poll(args, session, cluster, console).await,
    }
}

/// What the server has of a kind, or the one thing with the given id.
async fn fetch(args: &GetArgs, session: &Session, cluster: Option<&str>) -> Result<Listing, Failure> {
    let in_cluster = cluster.unwrap_or_default().to_owned();
    Ok(match (args.kind, &args.id) {
        (Kind::Nodes, Some(id)) => Listing::Nodes(NodeList { items: vec![session.node(id, cluster).await?] }),
        (Kind::Nodes, None) => {
            let request = ListNodesRequest { cluster: in_cluster, ..ListNodesRequest::default() };
            Listing::Nodes(session.call(async |mut client| client.list_nodes(request.clone()).await).await?)
        }
        (Kind::Clusters, Some(id)) => Listing::Clusters(ClusterList { items: vec![session.cluster(id).await?] }),
        (Kind::Clusters, None) => {
            let request = ListClustersRequest { cluster: in_cluster };
            Listing::Clusters(session.call(async |mut client| client.list_clusters(request.clone()).await).await?)
        }
        (Kind::Pools, id) => {
            let request = ListClustersRequest { cluster: in_cluster };
            let clusters = session.call(async |mut client| client.list_clusters(request.clone()).await).await?;
            let items = PoolItem::of_clusters(&clusters.items);
            let items = only(items, id.as_deref(), "pool", |item, id| item.pool().name == id)?;
            Listing::Pools(PoolList { items })
        }
        (Kind::Tokens, Some(id)) => Listing::Tokens(TokenList { items: vec![session.token(id).await?] }),
        (Kind::Tokens, None) => {
            let request = ListTokensRequest { cluster: in_cluster };
            Listing::Tokens(session.call(async |mut client| client.list_tokens(request.clone()).await).await?)
        }
        (Kind::Permits, id) => {
            let request = ListPermitsRequest { cluster: in_cluster };
            let permits = session.call(async |mut client| client.list_permits(request.clone()).await).await?;
            let items = only(permits.items, id.as_deref(), "permit", |permit, id| permit.kind == id)?;
            Listing::Permits(PermitList { items })
        }
        (Kind::Servers, Some(id)) => {
            Listing::Servers(ServerList { items: vec![session.server_named(id).await?], ..ServerList::default() })
        }
        (Kind::Servers, None) => {
            let request = ListServersRequest::default();
            Listing::Servers(session.call(async |mut client| client.list_servers(request).await).await?)
        }
        (Kind::Events, id) => {
            let request = events_of(cluster);
            let events = session.call(async |mut client| client.list_events(request.clone()).await).await?;
            let items = only(events.items, id.as_deref(), "event", |event, id| event.sequence.to_string() == id)?;
            Listing::Events(EventList { items })
        }
    })
}

fn events_of(cluster: Option<&str>) -> ListEventsRequest {
    ListEventsRequest { cluster: cluster.unwrap_or_default().to_owned(), ..ListEventsRequest::default() }
}

fn only<T>(mut items: Vec<T>, id: Option<&str>, kind: &str, is: impl Fn(&T, &str) -> bool) -> Result<Vec<T>, Failure> {
    let Some(id) = id else { return Ok(items) };
    items.retain(|item| is(item, id));
    if items.is_empty() {
        return Err(Failure::new(Exit::Conflict, format!("no {kind} {id:?}")).with_next(format!("muster get {kind}s")));
    }
    Ok(items)
}

async fn watch_nodes(
    args: &GetArgs,
    session: &Session,
    cluster: Option<&str>,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let node = match &args.id {
        Some(id) => session.node(id, cluster).await?.id,
        None => String::new(),
    };
    let request = ListNodesRequest { node, cluster: cluster.unwrap_or_default().to_owned(), phase: String::new() };
    let open = async || session.call(async |mut client| client.watch_nodes(request.clone()).await).await;
    let mut feed = Feed::default();
    session
        .follow(Patience::Short, open, |node| {
            let mut listing = Listing::Nodes(NodeList { items: vec![node] });
            listing.keep(args.selector.as_ref());
            feed.changes(&listing, console)?;
            Ok(ControlFlow::Continue(()))
        })
        .await?;
    Ok(Exit::Done)
}

async fn poll(
    args: &GetArgs,
    session: &Session,
    cluster: Option<&str>,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let mut feed = Feed::default();
    loop {
        let mut listing = fetch(args, session, cluster).await?;
        listing.keep(args.selector.as_ref());
        feed.changes(&listing, console)?;
        tokio::time::sleep(POLL).await;
    }
}
