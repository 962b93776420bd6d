//! `muster node …`.

use clap::{Args, Subcommand};

/// Verbs on nodes.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Let a machine in, after comparing its key fingerprint with the one on its console
    Approve(ApproveArgs),
    /// Refuse a machine that waits for approval
    Deny(NodeArgs),
    /// Try a failed node again
    Retry(NodeArgs),
    /// Forget a node; its certificate is void from then on
    Remove(NodeArgs),
    /// Stop a node: it gets no instruction and no secret until it is unlocked
    Lock(NodeArgs),
    /// Let a locked node go on
    Unlock(NodeArgs),
}

/// What is approved.
#[derive(Debug, Args)]
pub struct ApproveArgs {
    /// Id, unique prefix of it, or name
    pub node: String,
    /// The key fingerprint that the machine's console shows, in full; no question is asked then
    #[arg(long, value_name = "sha256:HEX")]
    pub fingerprint: Option<String>,
    /// Role: picks the pool if the cluster has one pool of that role
    #[arg(long, value_parser = ["worker", "control-plane"], conflicts_with = "pool")]
    pub role: Option<String>,
    /// Pool
    #[arg(long)]
    pub pool: Option<String>,
    /// Name of the Kubernetes node
    #[arg(long)]
    pub name: Option<String>,
    /// The machine was re-imaged: its new keys replace those of the node with the same hardware
    #[arg(long)]
    pub replace: bool,
    /// Approve what the server shows without comparing the fingerprint
    #[arg(short, long)]
    pub yes: bool,
}

/// A node and why.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// Id, unique prefix of it, or name
    pub node: String,
    /// Why; kept with the event
    #[arg(long)]
    pub reason: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}
