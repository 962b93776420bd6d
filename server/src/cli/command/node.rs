//! `muster node`: what an operator decides about one machine.

mod approve;

use muster_proto::admin::v1::{Node, NodeRequest};

use crate::cli::args::{Format, NodeArgs, NodeCommand};
use crate::cli::client::{Session, request_id};
use crate::cli::console::{Console, Document, plain};
use crate::cli::exit::{Exit, Failure};
use crate::cli::show;

/// The verbs that take a node and a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Deny,
    Retry,
    Remove,
    Lock,
    Unlock,
}

impl Verb {
    /// What a question asks, for verbs that cannot be taken back.
    fn question(self) -> Option<&'static str> {
        match self {
            Verb::Deny => Some("Deny"),
            Verb::Remove => Some("Remove"),
            Verb::Retry | Verb::Lock | Verb::Unlock => None,
        }
    }

    fn done(self) -> &'static str {
        match self {
            Verb::Deny => "denied",
            Verb::Retry => "retried",
            Verb::Remove => "removed",
            Verb::Lock => "locked",
            Verb::Unlock => "unlocked",
        }
    }

    /// What to do next if the server does not say.
    fn next(self, id: &str) -> String {
        match self {
            Verb::Deny => "muster get nodes".to_owned(),
            Verb::Remove => "muster get nodes; the machine may enrol again when it boots".to_owned(),
            Verb::Retry | Verb::Unlock => format!("muster wait node/{id} --for phase=Ready"),
            Verb::Lock => {
                format!("muster describe node {id}, then: muster node unlock {id}, or: muster node remove {id}")
            }
        }
    }
}

pub(super) async fn run(
    command: NodeCommand,
    session: &Session,
    cluster: Option<&str>,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let (verb, args) = match command {
        NodeCommand::Approve(args) => return approve::run(&args, session, cluster, console).await,
        NodeCommand::Deny(args) => (Verb::Deny, args),
        NodeCommand::Retry(args) => (Verb::Retry, args),
        NodeCommand::Remove(args) => (Verb::Remove, args),
        NodeCommand::Lock(args) => (Verb::Lock, args),
        NodeCommand::Unlock(args) => (Verb::Unlock, args),
    };
    decide(verb, &args, session, cluster, console).await
}

async fn decide(
    verb: Verb,
    args: &NodeArgs,
    session: &Session,
    cluster: Option<&str>,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let node = session.node(&args.node, cluster).await?;
    if let Some(question) = verb.question() {
        let phase = show::shown_phase(&node);
        let question = format!("{question} {} ({}, {})?", node.id, show::label(&node), phase);
        console.confirm(&plain(&question), args.yes)?;
    }
    let request = NodeRequest {
        request_id: request_id(),
        node: node.id.clone(),
        reason: args.reason.clone().unwrap_or_default(),
    };
    let call = async |mut client: crate::cli::client::Client| match verb {
        Verb::Deny => client.deny_node(request.clone()).await,
        Verb::Retry => client.retry_node(request.clone()).await,
        Verb::Remove => client.remove_node(request.clone()).await,
        Verb::Lock => client.lock_node(request.clone()).await,
        Verb::Unlock => client.unlock_node(request.clone()).await,
    };
    let after = session.call(call).await?;
    changed(&after, verb.done(), console)?;
    let next = if after.next.is_empty() { verb.next(&node.id) } else { after.next.clone() };
    console.next(&plain(&next));
    Ok(Exit::Done)
}

/// Says what became of a node.
fn changed(node: &Node, verb: &str, console: &mut Console) -> Result<(), Failure> {
    match console.format {
        Format::Json | Format::Yaml => console.document(&Document::new("Node", node)),
        Format::Name => console.data(&plain(&show::node_name(node))),
        Format::Table | Format::Wide => console.data(&format!("{} {verb}", plain(&show::node_name(node)))),
    }
}
