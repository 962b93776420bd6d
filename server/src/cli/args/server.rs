//! `muster server …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Verbs on Muster's own servers.
#[derive(Debug, Clone, Subcommand)]
pub enum ServerCommand {
    /// Make this host ask to become one of a fleet's servers, and wait until an operator approves it
    Join(JoinServerArgs),
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
