//! `muster join-command`: for machines without an agent.

use muster_proto::admin::v1::CreateJoinCommandRequest;

use crate::cli::args::{Format, JoinCommandArgs};
use crate::cli::client::{Session, request_id};
use crate::cli::console::{Console, Document, plain, stamp};
use crate::cli::exit::{Exit, Failure};
use crate::cli::{names, show};

pub(super) async fn run(
    args: &JoinCommandArgs,
    session: &Session,
    cluster: Option<&str>,
    console: &mut Console,
) -> Result<Exit, Failure> {
    if let Some(name) = &args.node_name {
        names::check_subdomain(name).map_err(|message| Failure::new(Exit::Invalid, message))?;
    }
    let cluster = session.chosen_cluster(cluster).await?;
    let request = CreateJoinCommandRequest {
        request_id: request_id(),
        cluster: show::cluster_name(&cluster).to_owned(),
        role: args.role.clone(),
        ttl_seconds: args.ttl.as_secs(),
        node_name: args.node_name.clone().unwrap_or_default(),
        discovery: args.discovery.clone(),
    };
    let join = session.call(async |mut client| client.create_join_command(request.clone()).await).await?;
    match console.format {
        Format::Json | Format::Yaml => console.document(&Document::new("JoinCommand", &join))?,
        Format::Table | Format::Wide | Format::Name => {
            console.data(&plain(&join.line))?;
            console.say(&format!(
                "This line is a secret. It works until {}; its token is {}.",
                stamp(join.expires.as_ref()),
                plain(&join.token_id)
            ));
        }
    }
    if let Some(said) = approval(&join.approval, args.node_name.as_deref()) {
        console.say(&said);
    }
    if join.line.contains("SSL_CERT_FILE") {
        console.say(
            "The server shows the fleet's own certificate, so the line brings its root, for this one call. `muster server ca` prints it.",
        );
    }
    console.next(&format!("run the line as root on the {}, then: muster get tokens", args.role));
    Ok(Exit::Done)
}

/// What becomes of the machine's certificate request, where that is worth a word.
fn approval(word: &str, name: Option<&str>) -> Option<String> {
    match (word, name) {
        ("person", _) => Some(
            "Its certificate request waits for a person, for at most five minutes: `muster events -w` shows CsrWaiting with the \
             command. A line with --node-name needs nobody."
                .to_owned(),
        ),
        ("muster", Some(name)) => Some(format!(
            "Muster approves the first certificate request that comes with it, for node {name} alone; a second one takes the token back."
        )),
        ("cluster", Some(name)) => Some(format!(
            "The cluster itself approves its certificate request, for any name: nothing holds the line to node {name}."
        )),
        _ => None,
    }
}
