//! `muster seal`: the data keys, seen from outside.

use muster_proto::admin::v1::{GetSealRequest, RotateDataKeyRequest, Seal};

use crate::cli::args::SealCommand;
use crate::cli::client::{Session, request_id};
use crate::cli::console::{Console, Document, Table};
use crate::cli::exit::{Exit, Failure};

pub(super) async fn run(command: SealCommand, session: &Session, console: &mut Console) -> Result<Exit, Failure> {
    match command {
        SealCommand::Status => {
            let seal = session.call(async |mut client| client.get_seal(GetSealRequest {}).await).await?;
            show(&seal, console)?;
        }
        SealCommand::Rotate => {
            let request = RotateDataKeyRequest { request_id: request_id() };
            let seal = session.call(async |mut client| client.rotate_data_key(request.clone()).await).await?;
            show(&seal, console)?;
            console.next("muster seal status shows when nothing is sealed with older keys any more");
        }
    }
    Ok(Exit::Done)
}

fn show(seal: &Seal, console: &mut Console) -> Result<(), Failure> {
    if !console.for_people() {
        return console.document(&Document::new("Seal", seal));
    }
    let mut table = Table::new(&["DATA KEY", "STATE", "SECRETS", "SERVERS"]);
    for key in &seal.data_keys {
        let state = if key.number == seal.data_key { "in use" } else { "ending" };
        let servers: Vec<String> = key.servers.iter().map(ToString::to_string).collect();
        table.row([key.number.to_string(), state.to_owned(), key.secrets.to_string(), servers.join(",")]);
    }
    console.table(&table)
}
