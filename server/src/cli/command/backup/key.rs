//! The key of a backup: from a file, or asked for. Never an argument, which everyone on the machine could read.

use std::path::Path;

use crate::backup::BackupKey;
use crate::cli::args::BackupKeyArgs;
use crate::cli::console::Console;
use crate::cli::exit::{Exit, Failure};

/// For a backup that is about to be made: a key file that is missing is made, a passphrase is asked for twice.
pub(super) fn for_new(args: &BackupKeyArgs, console: &mut Console) -> Result<BackupKey, Failure> {
    match &args.key_file {
        Some(path) if !path.exists() => {
            let key = BackupKey::new_file(path).map_err(|error| invalid(&error))?;
            console.warn(&format!("made {}: without it the backup can't be opened by anybody", path.display()));
            Ok(key)
        }
        _ => given(args, console, true),
    }
}

/// For a backup that is there.
pub(super) fn for_one_that_is_there(args: &BackupKeyArgs, console: &mut Console) -> Result<BackupKey, Failure> {
    given(args, console, false)
}

fn given(args: &BackupKeyArgs, console: &mut Console, twice: bool) -> Result<BackupKey, Failure> {
    match (&args.key_file, &args.passphrase_file) {
        (Some(path), _) => BackupKey::of_file(path).map_err(|error| invalid(&error)),
        (None, Some(path)) if path == Path::new("-") => {
            BackupKey::of_passphrase_input(console.input()).map_err(|error| invalid(&error))
        }
        (None, Some(path)) => BackupKey::of_passphrase_file(path.clone()).map_err(|error| invalid(&error)),
        (None, None) => asked(console, twice),
    }
}

fn asked(console: &mut Console, twice: bool) -> Result<BackupKey, Failure> {
    let passphrase = console.secret("Passphrase of the backup: ").map_err(|failure| match failure.exit {
        Exit::Usage => failure.with_next("name a file with --key-file or --passphrase-file"),
        _ => failure,
    })?;
    if twice && *console.secret("The same again: ")? != *passphrase {
        return Err(Failure::new(Exit::Invalid, "the two passphrases differ; nothing was done"));
    }
    BackupKey::of_passphrase(passphrase).map_err(|error| invalid(&error))
}

fn invalid(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Invalid, error.to_string())
}
