//! `muster token …`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::values::{self, SelectorTerm};

/// Verbs on enrolment tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token on this machine; the server gets only its hash, so it is printed once
    Create(CreateTokenArgs),
    /// List tokens, never their secret part
    List,
    /// Void a token
    Revoke(RevokeTokenArgs),
    /// Give a token more time
    Renew(RenewTokenArgs),
}

/// A token to make.
#[derive(Debug, Args)]
pub struct CreateTokenArgs {
    /// Pool whose machines it lets in
    #[arg(long)]
    pub pool: Option<String>,
    /// The one node it admits, by name; such a token works once
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// How long it lives
    #[arg(long, default_value = "24h", value_parser = values::duration, value_name = "DURATION")]
    pub ttl: Duration,
    /// How many machines may use it [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "node", value_name = "N")]
    pub uses: Option<u32>,
    /// Only machines that claim this, e.g. mac=52:54:00:12:34:56 or label.rack=r1; may be repeated
    #[arg(long, value_parser = SelectorTerm::parse, value_name = "KEY=VALUE")]
    pub selector: Vec<SelectorTerm>,
    /// kubeadm's habit: see `muster join-command`
    #[arg(long, hide = true)]
    pub print_join_command: bool,
}

/// A token to void.
#[derive(Debug, Args)]
pub struct RevokeTokenArgs {
    /// Id of the token, or a unique prefix of it
    pub id: String,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// A token to keep.
#[derive(Debug, Args)]
pub struct RenewTokenArgs {
    /// Id of the token, or a unique prefix of it
    pub id: String,
    /// How long it lives from now on
    #[arg(long, default_value = "24h", value_parser = values::duration, value_name = "DURATION")]
    pub ttl: Duration,
}
