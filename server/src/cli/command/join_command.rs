//! `muster join-command`: for machines without an agent.

use muster_proto::admin::v1::CreateJoinCommandRequest;

use crate::cli::args::{Format, JoinCommandArgs};
use crate::cli::client::{Session, request_id};
use crate::cli::console::{Console, Document, plain, stamp};
use crate::cli::exit::{Exit, Failure};
use crate::cli::show;

pub(super) async fn run(
    args: &JoinCommandArgs,
    session: &Session,
    cluster: Option<&str>,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let cluster = session.chosen_cluster(cluster).await?;
    let request = CreateJoinCommandRequest {
        request_id: request_id(),
        cluster: show::cluster_name(&cluster).to_owned(),
        role: args.role.clone(),
        ttl_seconds: args.ttl.as_secs(),
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
    console.next(&format!("run the line as root on the {}, then: muster get tokens", args.role));
    Ok(Exit::Done)
}
