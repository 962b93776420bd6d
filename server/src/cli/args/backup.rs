//! `muster backup …` and `muster restore …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// A backup to make, or one to look at.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct BackupArgs {
    /// What to do instead of making one
    #[command(subcommand)]
    pub command: Option<BackupCommand>,
    /// File to make; one that is there is never overwritten
    #[arg(required = true, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// What will open it.
    #[command(flatten)]
    pub key: BackupKeyArgs,
}

/// Verbs on backups that are there.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Check that a backup is whole, and with its key that it opens; calls no server
    Verify(VerifyBackupArgs),
}

/// A backup to check.
#[derive(Debug, Args)]
pub struct VerifyBackupArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What opens it.
    #[command(flatten)]
    pub key: BackupKeyArgs,
}

/// What opens a backup. Without either, a passphrase is asked for.
#[derive(Debug, Clone, Default, Args)]
pub struct BackupKeyArgs {
    /// Key file (32 bytes or 64 hexadecimal digits, mode 0600); `muster backup` makes one if it is missing
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_file")]
    pub key_file: Option<PathBuf>,
    /// File (mode 0600) with a passphrase in its first line; - for standard input
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// A backup to go on from.
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What opens it.
    #[command(flatten)]
    pub key: BackupKeyArgs,
    /// Settings of the server that goes on with it [default: /etc/muster/server.toml, if it is there]
    // As for `serve`.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Empty data directory to fill, instead of the one that the settings name
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}
