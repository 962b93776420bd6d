//! `muster token`: made here, known to the server only by its hash.

use muster_proto::admin::v1::{ListTokensRequest, RenewTokenRequest, RevokeTokenRequest, Token};
use serde::Serialize;

use super::enrolment::{Door, Purpose, make_token};
use super::get::Listing;
use crate::cli::args::{CreateTokenArgs, Format, RenewTokenArgs, RevokeTokenArgs, SelectorTerm, TokenCommand};
use crate::cli::client::{Session, request_id};
use crate::cli::console::{Console, Document, plain, stamp};
use crate::cli::exit::{Exit, Failure};
use crate::cli::{names, show};

pub(super) fn refuse_early(command: &TokenCommand) -> Result<(), Failure> {
    let TokenCommand::Create(args) = command else { return Ok(()) };
    if args.print_join_command {
        return Err(Failure::new(Exit::Usage, "these tokens enrol machines with Muster; kubeadm does not know them")
            .with_next("muster join-command, which prints a kubeadm join line that works now"));
    }
    match &args.node {
        Some(name) => names::check_subdomain(name).map_err(|message| Failure::new(Exit::Invalid, message)),
        None => Ok(()),
    }
}

pub(super) async fn run(
    command: TokenCommand,
    session: &Session,
    cluster: Option<&str>,
    console: &mut Console,
) -> Result<Exit, Failure> {
    match command {
        TokenCommand::Create(args) => create(&args, session, cluster, console).await?,
        TokenCommand::List => list(session, cluster, console).await?,
        TokenCommand::Revoke(args) => revoke(&args, session, console).await?,
        TokenCommand::Renew(args) => renew(&args, session, console).await?,
    }
    Ok(Exit::Done)
}

/// A new token under a kind of its own, because its text is in no protobuf message: it is never sent.
#[derive(Serialize)]
struct EnrolmentToken<'a> {
    /// The secret.
    token: &'a str,
    /// The line to paste on a machine.
    command: &'a str,
    /// What the server stores.
    stored: &'a Token,
}

async fn create(
    args: &CreateTokenArgs,
    session: &Session,
    cluster: Option<&str>,
    console: &mut Console,
) -> Result<(), Failure> {
    if console.format == Format::Name {
        return Err(Failure::new(Exit::Usage, "-o name would lose the token, which is shown only once"));
    }
    // First, so that no token is made that could not be used.
    let door = Door::of(session).await?;
    let cluster = session.chosen_cluster(cluster).await?;
    let purpose = Purpose {
        cluster: show::cluster_name(&cluster).to_owned(),
        pool: args.pool.clone().unwrap_or_default(),
        node_name: args.node.clone().unwrap_or_default(),
        ttl_s: args.ttl.as_secs(),
        uses: args.uses.unwrap_or(1),
        selector: SelectorTerm::message(&args.selector),
    };
    let (token, stored) = make_token(session, &purpose).await?;
    let line = door.line(&token);
    if console.for_people() {
        if args.node.is_none() {
            console.data(token.expose())?;
        }
        console.data(&line)?;
        console.say(&format!("It is shown only now, and lives until {}.", stamp(stored.expires.as_ref())));
    } else {
        let made = EnrolmentToken { token: token.expose(), command: &line, stored: &stored };
        console.document(&Document::new("EnrolmentToken", &made))?;
    }
    console.next("paste the line on the machine as root, then: muster get nodes -w");
    Ok(())
}

async fn list(session: &Session, cluster: Option<&str>, console: &mut Console) -> Result<(), Failure> {
    let request = ListTokensRequest { cluster: cluster.unwrap_or_default().to_owned() };
    let tokens = session.call(async |mut client| client.list_tokens(request.clone()).await).await?;
    Listing::Tokens(tokens).show(false, console)
}

async fn revoke(args: &RevokeTokenArgs, session: &Session, console: &mut Console) -> Result<(), Failure> {
    let token = session.token(&args.id).await?;
    console.confirm(&format!("Revoke token {}?", plain(&token.id)), args.yes)?;
    let revoked = revoke_id(&token.id, session).await?;
    changed(revoked, "revoked", console)?;
    console.next("muster token list");
    Ok(())
}

/// Voids a token.
pub(super) async fn revoke_id(id: &str, session: &Session) -> Result<Token, Failure> {
    let request = RevokeTokenRequest { request_id: request_id(), id: id.to_owned() };
    session.call(async |mut client| client.revoke_token(request.clone()).await).await
}

async fn renew(args: &RenewTokenArgs, session: &Session, console: &mut Console) -> Result<(), Failure> {
    let token = session.token(&args.id).await?;
    let request = RenewTokenRequest { request_id: request_id(), id: token.id, ttl_seconds: args.ttl.as_secs() };
    let renewed = session.call(async |mut client| client.renew_token(request.clone()).await).await?;
    let until = stamp(renewed.expires.as_ref());
    changed(renewed, "renewed", console)?;
    console.next(&format!("it lives until {until}; muster token list"));
    Ok(())
}

fn changed(token: Token, verb: &str, console: &mut Console) -> Result<(), Failure> {
    if console.for_people() {
        return console.data(&format!("token/{} {verb}", plain(&token.id)));
    }
    let list = muster_proto::admin::v1::TokenList { items: vec![token] };
    Listing::Tokens(list).show(true, console)
}
