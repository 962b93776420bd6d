//! `muster server token create`: made here, known to the servers only by its hash.

use muster_proto::admin::v1::{CreateServerTokenRequest, Token};
use serde::Serialize;

use crate::cli::args::{CreateServerTokenArgs, Format};
use crate::cli::client::{Session, request_id};
use crate::cli::command::enrolment::Door;
use crate::cli::console::{Console, Document, stamp};
use crate::cli::exit::{Exit, Failure};
use crate::cli::muster_token::MusterToken;

/// A new token under a kind of its own, because its text is in no protobuf message: it is never sent.
#[derive(Serialize)]
struct ServerToken<'a> {
    /// The secret.
    token: &'a str,
    /// The line to paste on the new server's machine.
    command: &'a str,
    /// What the servers store.
    stored: &'a Token,
}

pub(super) async fn create(
    args: &CreateServerTokenArgs,
    session: &Session,
    console: &mut Console,
) -> Result<(), Failure> {
    if console.format == Format::Name {
        return Err(Failure::new(Exit::Usage, "-o name would lose the token, which is shown only once"));
    }
    // First, so that no token is made that could not be used.
    let door = Door::of(session).await?;
    let token = MusterToken::generate()?;
    let request = CreateServerTokenRequest {
        request_id: request_id(),
        id: token.id().to_owned(),
        sha256: token.sha256().to_vec(),
        ttl_seconds: args.ttl.as_secs(),
    };
    let stored = session.call(async |mut client| client.create_server_token(request.clone()).await).await?;
    let line = door.server_line(&token);
    if console.for_people() {
        console.data(token.expose())?;
        console.data(&line)?;
        console.say(&format!("It is shown only now, works once, and lives until {}.", stamp(stored.expires.as_ref())));
    } else {
        let made = ServerToken { token: token.expose(), command: &line, stored: &stored };
        console.document(&Document::new("ServerToken", &made))?;
    }
    console.next("paste the line on the new server's machine; then, here: muster server list");
    Ok(())
}
