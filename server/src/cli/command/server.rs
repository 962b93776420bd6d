//! `muster server`: Muster's own servers.

mod approve;
mod token;

use muster_proto::admin::v1::{
    GetStatusRequest, ListServersRequest, RemoveServerRequest, Server, ServerRequest, TakeSnapshotRequest,
    TransferLeaderRequest,
};

use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde::Serialize;

use super::get::Listing;
use crate::cli::args::{
    Format, ListServersArgs, RemoveServerArgs, ServerArgs, ServerCommand, ServerTokenCommand, TransferLeaderArgs,
};
use crate::cli::client::{Session, request_id};
use crate::cli::console::{Console, Document, plain};
use crate::cli::exit::{Exit, Failure};
use crate::cli::show;
use crate::pki::certificates_to_pem;

pub(super) async fn run(command: ServerCommand, session: &Session, console: &mut Console) -> Result<Exit, Failure> {
    match command {
        // Runs on the host that asks; `main` gave it a runner.
        ServerCommand::Join(_) => return Err(Failure::new(Exit::Failed, "this command is not one of a client")),
        ServerCommand::List(args) => list(&args, session, console).await?,
        ServerCommand::Token(ServerTokenCommand::Create(args)) => token::create(&args, session, console).await?,
        ServerCommand::Approve(args) => approve::run(&args, session, console).await?,
        ServerCommand::Promote(args) => promote(&args, session, console).await?,
        ServerCommand::Remove(args) => remove(&args, session, console).await?,
        ServerCommand::Ca => ca(session, console).await?,
        ServerCommand::TransferLeader(args) => transfer_leader(&args, session, console).await?,
        ServerCommand::Snapshot => snapshot(session, console).await?,
    }
    Ok(Exit::Done)
}

async fn list(args: &ListServersArgs, session: &Session, console: &mut Console) -> Result<(), Failure> {
    let request = ListServersRequest { server: 0, stale: args.stale, removed: args.all };
    let listed = session.call(async |mut client| client.list_servers(request).await).await;
    let listed = listed.map_err(|failure| match failure.exit {
        Exit::Unreachable if !args.stale => failure.with_next("what one server has: muster server list --stale"),
        _ => failure,
    })?;
    let stale = listed.stale.then(|| {
        format!("stale: what server {} has at index {}; nobody confirmed it", listed.answered_by, listed.applied_index)
    });
    Listing::Servers(listed).show(false, console)?;
    stale.iter().for_each(|words| console.say(words));
    Ok(())
}

async fn promote(args: &ServerArgs, session: &Session, console: &mut Console) -> Result<(), Failure> {
    let request = ServerRequest { request_id: request_id(), server: args.id };
    let after = session.call(async |mut client| client.promote_server(request.clone()).await).await?;
    changed(&after, "is to vote", console)?;
    console.next("muster server list shows when it does");
    Ok(())
}

async fn remove(args: &RemoveServerArgs, session: &Session, console: &mut Console) -> Result<(), Failure> {
    let server = session.a_server(args.id).await?;
    let question = format!(
        "Remove server {} ({}, {}) for good? Its id is never used again.",
        server.id, server.state, server.address
    );
    console.confirm(&plain(&question), args.yes)?;
    let request = RemoveServerRequest {
        request_id: request_id(),
        server: args.id,
        reason: args.reason.clone().unwrap_or_default(),
        force: args.force,
    };
    let after = session.call(async |mut client| client.remove_server(request.clone()).await).await?;
    changed(&after, "removed", console)?;
    console.next("muster server list shows when it has left; wipe its data directory before its machine joins again");
    Ok(())
}

#[derive(Serialize)]
struct RootCertificate {
    pin: String,
    pem: String,
}

/// Written anew from what was read, so that nothing else than a certificate comes to standard output.
async fn ca(session: &Session, console: &mut Console) -> Result<(), Failure> {
    let status = session.call(async |mut client| client.get_status(GetStatusRequest {}).await).await?;
    let root = CertificateDer::from_pem_slice(status.root_certificate.as_bytes()).map_err(|_| {
        Failure::new(
            Exit::Failed,
            "the server does not say what its root certificate is; is it older than this program?",
        )
    })?;
    let pem = certificates_to_pem(&[root]);
    match console.format {
        Format::Json | Format::Yaml => {
            let shown = RootCertificate { pin: status.root_pin, pem };
            console.document(&Document::new("RootCertificate", &shown))
        }
        Format::Table | Format::Wide | Format::Name => console.data(&pem),
    }
}

/// Names the leader that is to step down, so that a retry after a lost answer hands nothing back.
async fn transfer_leader(args: &TransferLeaderArgs, session: &Session, console: &mut Console) -> Result<(), Failure> {
    let status = session.call(async |mut client| client.get_status(GetStatusRequest {}).await).await?;
    let request =
        TransferLeaderRequest { request_id: request_id(), server: args.id.unwrap_or_default(), from: status.leader_id };
    let moved = session.call(async |mut client| client.transfer_leader(request.clone()).await).await?;
    match console.format {
        Format::Json | Format::Yaml => console.document(&Document::new("Leader", &moved))?,
        Format::Name => console.data(&format!("server/{}", moved.leader_id))?,
        Format::Table | Format::Wide => {
            console.data(&format!("server/{} leads in term {}", moved.leader_id, moved.raft_term))?;
        }
    }
    console.next("muster server list");
    Ok(())
}

async fn snapshot(session: &Session, console: &mut Console) -> Result<(), Failure> {
    let request = TakeSnapshotRequest { request_id: request_id() };
    let made = session.call(async |mut client| client.take_snapshot(request.clone()).await).await?;
    match console.format {
        Format::Json | Format::Yaml => console.document(&Document::new("Snapshot", &made))?,
        Format::Name => console.data(&format!("server/{}", made.server_id))?,
        Format::Table | Format::Wide => {
            let text = format!("server/{} holds everything up to index {}", made.server_id, made.snapshot_index);
            console.data(&text)?;
        }
    }
    console.next("muster status");
    Ok(())
}

/// Says what became of a server.
fn changed(server: &Server, verb: &str, console: &mut Console) -> Result<(), Failure> {
    match console.format {
        Format::Json | Format::Yaml => console.document(&Document::new("Server", server)),
        Format::Name => console.data(&show::server_name(server)),
        Format::Table | Format::Wide => console.data(&format!("{} {verb}", show::server_name(server))),
    }
}
