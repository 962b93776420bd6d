//! `muster describe`: fields, conditions, the last events, the next action.

use muster_proto::admin::v1::{Cluster, Event, ListEventsRequest, Node, Server};

use crate::cli::args::{DescribeArgs, Format, Subject};
use crate::cli::client::Session;
use crate::cli::console::{Console, Document, plain};
use crate::cli::exit::{Exit, Failure};
use crate::cli::show::{self, Fields};

pub(super) async fn run(
    args: &DescribeArgs,
    session: &Session,
    cluster: Option<&str>,
    console: &mut Console,
) -> Result<Exit, Failure> {
    if let Some(id) = server_named(args) {
        let server = session.server_named(id).await?;
        describe_server(&server, session, console).await?;
        return Ok(Exit::Done);
    }
    match subject(args)? {
        Subject::Node(id) => {
            let node = session.node(&id, cluster).await?;
            describe_node(&node, session, console).await?;
        }
        Subject::Cluster(name) => {
            let cluster = session.cluster(&name).await?;
            describe_cluster(&cluster, session, console).await?;
        }
    }
    Ok(Exit::Done)
}

/// The server that is meant, if one is. Servers are no [`Subject`]: nothing waits for them.
fn server_named(args: &DescribeArgs) -> Option<&str> {
    let (kind, id) = match (&args.id, args.kind.split_once('/')) {
        (Some(id), None) => (args.kind.as_str(), id.as_str()),
        (None, Some(both)) => both,
        (Some(_), Some(_)) | (None, None) => return None,
    };
    matches!(kind, "server" | "servers").then_some(id)
}

async fn describe_server(server: &Server, session: &Session, console: &mut Console) -> Result<(), Failure> {
    match console.format {
        Format::Json | Format::Yaml => console.document(&Document::new("Server", server)),
        Format::Name => console.data(&show::server_name(server)),
        Format::Table | Format::Wide => {
            let request = ListEventsRequest { server: server.id, ..ListEventsRequest::default() };
            let events = events(session, request).await?;
            screen(show::server_fields(server), &events, &server.next, console)
        }
    }
}

fn subject(args: &DescribeArgs) -> Result<Subject, Failure> {
    let parsed = match (&args.id, args.kind.split_once('/')) {
        (Some(id), None) => Subject::of(&args.kind, id),
        (None, Some((kind, id))) => Subject::of(kind, id),
        (Some(_), Some(_)) => Err(format!("{:?} and an id after it are one id too many", args.kind)),
        (None, None) => Subject::of(&args.kind, ""),
    };
    parsed.map_err(|message| Failure::new(Exit::Usage, message))
}

async fn describe_node(node: &Node, session: &Session, console: &mut Console) -> Result<(), Failure> {
    match console.format {
        Format::Json | Format::Yaml => console.document(&Document::new("Node", node)),
        Format::Name => console.data(&show::node_name(node)),
        Format::Table | Format::Wide => {
            let events =
                events(session, ListEventsRequest { node: node.id.clone(), ..ListEventsRequest::default() }).await?;
            let fields = show::node_fields(node, console.now());
            screen(fields, &events, &node.next, console)
        }
    }
}

/// A cluster in full; also what `muster cluster describe` prints.
pub(super) async fn describe_cluster(
    cluster: &Cluster,
    session: &Session,
    console: &mut Console,
) -> Result<(), Failure> {
    let name = show::cluster_name(cluster);
    match console.format {
        Format::Json | Format::Yaml => console.document(&Document::new("Cluster", cluster)),
        Format::Name => console.data(&format!("cluster/{name}")),
        Format::Table | Format::Wide => {
            let request = ListEventsRequest { cluster: name.to_owned(), ..ListEventsRequest::default() };
            let events = events(session, request).await?;
            screen(show::cluster_fields(cluster), &events, &next_for(cluster), console)
        }
    }
}

async fn events(session: &Session, request: ListEventsRequest) -> Result<Vec<Event>, Failure> {
    Ok(session.call(async |mut client| client.list_events(request.clone()).await).await?.items)
}

fn screen(mut fields: Fields, events: &[Event], next: &str, console: &mut Console) -> Result<(), Failure> {
    show::events_below(&mut fields, events, console.now());
    let mut text = fields.render();
    if !next.is_empty() {
        text += &format!("Next: {}\n", plain(next));
    }
    console.data(&text)
}

fn next_for(cluster: &Cluster) -> String {
    let name = show::cluster_name(cluster);
    let short = |ready: u32, wanted: u32| ready < wanted;
    if !cluster.initialised && cluster.control_planes_ready == 0 {
        format!(
            "boot machines with what `muster snippet kernel-args` prints, then: muster get nodes --cluster {name} -w"
        )
    } else if short(cluster.control_planes_ready, cluster.control_planes_wanted)
        || short(cluster.workers_ready, cluster.workers_wanted)
    {
        format!("muster get nodes --cluster {name}")
    } else {
        String::new()
    }
}
