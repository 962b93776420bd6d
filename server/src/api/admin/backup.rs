//! Backups: parsed, decided in the log, then sent part by part.

use muster_proto::admin::v1::{BackupPart, TakeBackupRequest, backup_part::Part};
use muster_trust::sealing::SealingPublicKey;
use tonic::{Request, Status};

use super::{
    Answer,
    call::changing,
    stream::{self, Gone, Reader, Streamed},
};
use crate::{
    api::status::of_operation,
    backup::Archive,
    operations::{OperationError, Unsealed, take_backup},
};

pub(super) async fn take(server: &Unsealed, request: Request<TakeBackupRequest>) -> Answer<Streamed<BackupPart>> {
    let (request, body) = changing(server, request)?;
    let public = SealingPublicKey::from_bytes(&body.public_key)
        .map_err(|error| of_operation(OperationError::invalid("public_key", error)))?;
    let archive = take_backup::run(server, request, &public).await.map_err(of_operation)?;
    Ok(stream::start(&server.stopping, move |reader| feed(archive, reader)))
}

async fn feed(archive: Archive, reader: Reader<BackupPart>) -> Result<(), Gone> {
    reader.send(BackupPart { part: Some(Part::Header(archive.header().to_vec())) }).await?;
    for chunk in archive {
        match chunk {
            Ok(chunk) => reader.send(BackupPart { part: Some(Part::Chunk(chunk)) }).await?,
            Err(error) => return Err(reader.fail(Status::internal(error.to_string())).await),
        }
    }
    Ok(())
}
