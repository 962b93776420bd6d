//! `muster etcd …`.

use clap::{Args, Subcommand};

/// Verbs on the members of a linked cluster's etcd.
#[derive(Debug, Clone, Subcommand)]
pub enum EtcdCommand {
    /// List its members as the leader last saw them: voter or learner, started, healthy
    List(EtcdArgs),
    /// Take a member out, a voter too; refused where etcd would not go on without it
    Remove(RemoveEtcdMemberArgs),
}

/// Whose etcd.
#[derive(Debug, Clone, Args)]
pub struct EtcdArgs {
    /// Name of the cluster [default: the only one, or that of --cluster]
    #[arg(value_name = "CLUSTER")]
    pub name: Option<String>,
}

/// What is taken out.
#[derive(Debug, Clone, Args)]
pub struct RemoveEtcdMemberArgs {
    /// Name of the cluster
    #[arg(value_name = "CLUSTER")]
    pub name: String,
    /// Id of the member, or a unique prefix of it, as `muster etcd list` shows it
    #[arg(value_name = "MEMBER")]
    pub member: String,
    /// Why; kept with the event
    #[arg(long)]
    pub reason: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}
