//! `muster backup`: a file that holds the whole fleet and that only the operator's key opens. Nothing is ever written to the
//! disk in the clear; the key pair that the server seals to is made here.

use std::io::{BufWriter, Write as _};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use muster_proto::admin::v1::{TakeBackupRequest, backup_part::Part};
use muster_trust::sealing::SealingPrivateKey;
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::backup::{BackupError, BackupFile, BackupKey, Contents, Head, Writer};
use crate::cli::args::{BackupArgs, BackupKeyArgs, RestoreArgs, VerifyBackupArgs};
use crate::cli::client::{Session, request_id};
use crate::cli::console::{Console, Document, plain, stamp};
use crate::cli::exit::{Exit, Failure};

mod key;

/// A path that is taken is refused before anything is asked for.
pub(super) fn refuse_early(args: &BackupArgs) -> Result<(), Failure> {
    match &args.file {
        Some(path) if path.exists() => Err(taken(path)),
        Some(_) => Ok(()),
        None => Err(Failure::new(Exit::Usage, "the file to make is missing")),
    }
}

fn taken(path: &Path) -> Failure {
    Failure::new(Exit::Conflict, format!("{} is there already, and no backup is ever overwritten", path.display()))
        .with_next("choose another name")
}

/// A backup in the machine interface.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    file: String,
    fleet: String,
    made: String,
    /// The last log entry in it.
    index: u64,
    version: String,
    bytes: u64,
    /// It was opened with its key.
    opened: bool,
}

impl Shown {
    fn new(path: &Path, head: &Head, bytes: u64, opened: bool) -> Self {
        let made =
            muster_proto::Timestamp { seconds: i64::try_from(head.made_ms / 1000).unwrap_or(i64::MAX), nanos: 0 };
        Self {
            file: path.display().to_string(),
            fleet: plain(&head.fleet),
            made: stamp(Some(&made)),
            index: head.index,
            version: plain(&head.version),
            bytes,
            opened,
        }
    }

    fn show(&self, what: &str, console: &mut Console) -> Result<(), Failure> {
        if !console.for_people() {
            return console.document(&Document::new("Backup", self));
        }
        let Self { file, fleet, made, index, version, bytes, .. } = self;
        console.data(&format!(
            "{file}: {what}; fleet {fleet} at {made} (log entry {index}, version {version}), {bytes} bytes"
        ))
    }
}

pub(super) async fn run(args: &BackupArgs, session: &Session, console: &mut Console) -> Result<Exit, Failure> {
    refuse_early(args)?;
    let Some(path) = &args.file else { return Ok(Exit::Done) };
    let mut file = Unfinished::create(path)?;
    let key = key::for_new(&args.key, console)?;
    let private = SealingPrivateKey::generate().map_err(|_| unmade(path, &BackupError::Seal))?;
    let request = TakeBackupRequest { request_id: request_id(), public_key: private.public().as_bytes().to_vec() };
    let mut writer = Writer::new(BufWriter::new(&mut file.0), &key, private).map_err(|error| unmade(path, &error))?;
    let spinner = console.spinner("taking the backup");
    let parts = session.call(async |mut client| client.take_backup(request.clone()).await).await?;
    let mut head = None;
    let mut each = |part: muster_proto::admin::v1::BackupPart| {
        let taken = match part.part {
            Some(Part::Header(header)) => writer.header(&header).map(|read| head = Some(read)),
            Some(Part::Chunk(chunk)) => writer.chunk(&chunk),
            // A message of a newer server, without which no backup is complete.
            None => Err(BackupError::Incomplete),
        };
        taken.map(ControlFlow::<()>::Continue).map_err(|error| unmade(path, &error))
    };
    let _over = session.read(parts, &mut each).await?;
    spinner.finish_and_clear();
    let (out, bytes) = writer.finish().map_err(|error| unmade(path, &error))?;
    drop(out);
    file.keep(path)?;
    let head = head.ok_or_else(|| unmade(path, &BackupError::Incomplete))?;
    Shown::new(path, &head, bytes, true).show("written", console)?;
    console
        .next("keep it apart from its key, and both apart from the servers; check a copy with: muster backup verify");
    Ok(Exit::Done)
}

/// The file under a name of its own, until it is whole.
struct Unfinished(NamedTempFile);

impl Unfinished {
    fn create(path: &Path) -> Result<Self, Failure> {
        let made = tempfile::Builder::new()
            .permissions(std::fs::Permissions::from_mode(0o600))
            .prefix(".backup")
            .tempfile_in(folder(path));
        made.map(Self).map_err(|error| unmade(path, &error.into()))
    }

    /// Durable under its name on return, or not there at all.
    fn keep(mut self, path: &Path) -> Result<(), Failure> {
        let synced = self.0.flush().and_then(|()| self.0.as_file().sync_all());
        synced.map_err(|error| unmade(path, &error.into()))?;
        self.0.persist_noclobber(path).map_err(|error| match error.error.kind() {
            std::io::ErrorKind::AlreadyExists => taken(path),
            _ => unmade(path, &error.error.into()),
        })?;
        let synced = std::fs::File::open(folder(path)).and_then(|folder| folder.sync_all());
        synced.map_err(|error| unmade(path, &error.into()))
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn unmade(path: &Path, error: &BackupError) -> Failure {
    Failure::new(Exit::Failed, format!("no backup was made: {}: {error}", path.display()))
}

pub(super) fn verify(args: &VerifyBackupArgs, console: &mut Console) -> Result<Exit, Failure> {
    let file = read(&args.file)?;
    let bytes = file.bytes() as u64;
    if args.key.key_file.is_none() && args.key.passphrase_file.is_none() {
        Shown::new(&args.file, file.head(), bytes, false).show("whole, not opened", console)?;
        console.next("name its key with --key-file or --passphrase-file to see that it opens");
        return Ok(Exit::Done);
    }
    let contents = open(&args.file, &file, &args.key, console)?;
    let counts = contents.counts();
    let what = format!(
        "whole, and it opens: {} clusters, {} nodes, {} secrets",
        counts.clusters, counts.nodes, counts.secrets
    );
    Shown::new(&args.file, file.head(), bytes, true).show(&what, console)?;
    Ok(Exit::Done)
}

/// What `muster restore` goes on from.
///
/// # Errors
/// If the file is no whole backup, or the key does not open it.
pub(in crate::cli) fn contents(args: &RestoreArgs, console: &mut Console) -> Result<Contents, Failure> {
    let file = read(&args.file)?;
    open(&args.file, &file, &args.key, console)
}

fn read(path: &Path) -> Result<BackupFile, Failure> {
    BackupFile::read(path).map_err(|error| unusable(path, &error))
}

fn open(path: &Path, file: &BackupFile, args: &BackupKeyArgs, console: &mut Console) -> Result<Contents, Failure> {
    let key: BackupKey = key::for_one_that_is_there(args, console)?;
    file.open(&key).map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &BackupError) -> Failure {
    let failure = |exit| Failure::new(exit, format!("{}: {}", path.display(), plain(&error.to_string())));
    match error {
        BackupError::Io(cause) if cause.kind() == std::io::ErrorKind::NotFound => failure(Exit::Conflict),
        BackupError::Io(_) => failure(Exit::Failed),
        BackupError::WrongKey | BackupError::OtherKind => {
            failure(Exit::Invalid).with_next("give the key file or passphrase that this backup was made with")
        }
        _ => failure(Exit::Invalid),
    }
}

#[cfg(test)]
mod tests;
