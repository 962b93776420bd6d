//! `muster operator`: the certificate of whoever types it.

use muster_proto::Timestamp;
use serde::Serialize;

use crate::cli::args::OperatorCommand;
use crate::cli::client::{Session, renewal};
use crate::cli::console::{Console, Document, stamp};
use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Renewed {
    certificate: String,
    not_after: String,
}

pub(super) async fn run(
    command: OperatorCommand,
    context: &Context,
    session: &Session,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let OperatorCommand::Renew = command;
    let not_after_ms = renewal::renew(context, session).await?;
    let seconds = i64::try_from(not_after_ms / 1000).unwrap_or(i64::MAX);
    let not_after = stamp(Some(&Timestamp { seconds, nanos: 0 }));
    let certificate = context.certificate.display().to_string();
    if console.for_people() {
        console.data(&format!("{certificate}: renewed, ends {not_after}"))?;
    } else {
        console.document(&Document::new("OperatorCertificate", &Renewed { certificate, not_after }))?;
    }
    Ok(Exit::Done)
}
