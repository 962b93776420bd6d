//! `muster server …`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::values;

/// Verbs on Muster's own servers.
#[derive(Debug, Clone, Subcommand)]
pub enum ServerCommand {
    /// Make this host ask to become one of a fleet's servers, and wait until an operator approves it
    Join(JoinServerArgs),
    /// List servers: what each is, how far it is, and how far behind the leader
    List(ListServersArgs),
    /// Make tokens with which servers ask to join
    #[command(subcommand)]
    Token(ServerTokenCommand),
    /// Let a server in as a learner, after comparing its key fingerprint with the one on its own console
    Approve(ApproveServerArgs),
    /// Let a learner vote: it gets the data keys and its vote once it has kept up for a while
    Promote(ServerArgs),
    /// Take a server out for good: its id is never used again, and secrets get a new data key
    Remove(RemoveServerArgs),
    /// Print the certificate of the fleet root, for a machine that fetches discovery files and trusts nothing else
    Ca,
    /// Have the leader step down for another voter, before its machine is maintained
    TransferLeader(TransferLeaderArgs),
    /// Have the called server put its state into a snapshot, which shortens its log
    Snapshot,
}

/// A host that asks.
#[derive(Debug, Clone, Args)]
pub struct JoinServerArgs {
    /// Enrolment listeners of the fleet's servers, e.g. https://192.0.2.1:9443
    #[arg(required = true, value_name = "URL")]
    pub urls: Vec<String>,
    /// Pin of the fleet root, as `muster status` shows it
    #[arg(long, value_name = "sha256:…")]
    pub ca: String,
    /// File with a token of `muster server token create`; - for standard input. Not needed to go on after an interruption
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Refused: an argument can be read by everyone on this machine
    #[arg(long, hide = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Settings that the server will run with [default: /etc/muster/server.toml, if it is there]
    // The same id as the global `--config`, which it takes the place of here.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Verbs on server tokens. They are listed and revoked like others: `muster token list`, `muster token revoke`.
#[derive(Debug, Clone, Subcommand)]
pub enum ServerTokenCommand {
    /// Make a token on this machine; the servers get only its hash, so it is printed once
    Create(CreateServerTokenArgs),
}

/// A list of servers.
#[derive(Debug, Clone, Args)]
pub struct ListServersArgs {
    /// What the called server has, without asking a majority: works without a leader, and may lie in the past
    #[arg(long)]
    pub stale: bool,
    /// Also those that were removed
    #[arg(long)]
    pub all: bool,
}

/// A server token to make. It works once.
#[derive(Debug, Clone, Args)]
pub struct CreateServerTokenArgs {
    /// How long it lives
    #[arg(long, default_value = "1h", value_parser = values::duration, value_name = "DURATION")]
    pub ttl: Duration,
}

/// A server.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// Id, as `muster server list` shows it
    #[arg(value_parser = values::server, value_name = "ID")]
    pub id: u64,
}

/// What is approved.
#[derive(Debug, Clone, Args)]
pub struct ApproveServerArgs {
    /// Id, as `muster server list` shows it
    #[arg(value_parser = values::server, value_name = "ID")]
    pub id: u64,
    /// The key fingerprint that `muster server join` shows on its machine, in full; no question is asked then
    #[arg(long, value_name = "sha256:HEX")]
    pub fingerprint: Option<String>,
    /// Approve what the fleet shows without comparing the fingerprint
    #[arg(short, long)]
    pub yes: bool,
}

/// What is removed.
#[derive(Debug, Clone, Args)]
pub struct RemoveServerArgs {
    /// Id, as `muster server list` shows it
    #[arg(value_parser = values::server, value_name = "ID")]
    pub id: u64,
    /// Why; kept with the event
    #[arg(long)]
    pub reason: Option<String>,
    /// Even if the voters that remain may not be enough to go on
    #[arg(long)]
    pub force: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// Who is to lead.
#[derive(Debug, Clone, Args)]
pub struct TransferLeaderArgs {
    /// Id of a voter [default: the one that has kept up best]
    #[arg(value_parser = values::server, value_name = "ID")]
    pub id: Option<u64>,
}
