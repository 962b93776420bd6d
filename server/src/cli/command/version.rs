//! `muster version`.

use muster_proto::admin::v1::GetStatusRequest;
use serde::Serialize;

use crate::cli::args::Format;
use crate::cli::client::Session;
use crate::cli::console::{Console, Document, plain};
use crate::cli::exit::{Exit, Failure};

const CLIENT: &str = env!("CARGO_PKG_VERSION");

#[derive(Serialize)]
struct Version<'a> {
    client: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<&'a str>,
}

pub(super) fn client(console: &mut Console) -> Result<Exit, Failure> {
    show(None, console)
}

/// Both; this program's own version is shown even if no server answers.
pub(super) async fn both(session: &Session, console: &mut Console) -> Result<Exit, Failure> {
    match session.call(async |mut client| client.get_status(GetStatusRequest {}).await).await {
        Ok(status) => show(Some(&status.version), console),
        Err(failure) => {
            show(None, console)?;
            Err(failure)
        }
    }
}

fn show(server: Option<&str>, console: &mut Console) -> Result<Exit, Failure> {
    match console.format {
        Format::Json | Format::Yaml => {
            console.document(&Document::new("Version", &Version { client: CLIENT, server }))?
        }
        Format::Table | Format::Wide | Format::Name => {
            console.data(&format!("client: {CLIENT}"))?;
            if let Some(server) = server {
                console.data(&format!("server: {}", plain(server)))?;
            }
        }
    }
    Ok(Exit::Done)
}
