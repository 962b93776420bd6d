//! `muster status`: one screen, and an exit code that tells.

use muster_proto::admin::v1::GetStatusRequest;

use crate::cli::args::Format;
use crate::cli::client::Session;
use crate::cli::console::{Console, Document};
use crate::cli::exit::{Exit, Failure};
use crate::cli::show;

pub(super) async fn run(session: &Session, console: &mut Console) -> Result<Exit, Failure> {
    let status = session.call(async |mut client| client.get_status(GetStatusRequest {}).await).await?;
    match console.format {
        Format::Json | Format::Yaml => console.document(&Document::new("Status", &status))?,
        Format::Name => console.data(&format!("server/{}", status.server_id))?,
        Format::Table | Format::Wide => {
            let screen = show::status_fields(&status, console.now()).render();
            console.data(&screen)?;
        }
    }
    Ok(show::status_exit(&status))
}
