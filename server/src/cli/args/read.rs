//! Reading: get, describe, wait, events, logs.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::values::{self, Condition, LabelQuery, Subject};

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Machines.
    #[value(alias = "node", alias = "no")]
    Nodes,
    /// Clusters.
    #[value(alias = "cluster")]
    Clusters,
    /// Pools of all clusters.
    #[value(alias = "pool")]
    Pools,
    /// Enrolment and bootstrap tokens, never their secret part.
    #[value(alias = "token")]
    Tokens,
    /// Who holds a step that must be serial, and who waits.
    #[value(alias = "permit")]
    Permits,
    /// Muster's own servers.
    #[value(alias = "server")]
    Servers,
    /// What happened.
    #[value(alias = "event", alias = "ev")]
    Events,
}

/// A list.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// What to list
    #[arg(value_enum)]
    pub kind: Kind,
    /// Only this one: id, unique prefix of it, or name
    pub id: Option<String>,
    /// Only those with these labels, e.g. rack=r1,zone!=b,disk
    #[arg(short = 'l', long, value_name = "LABELS", value_parser = LabelQuery::parse)]
    pub selector: Option<LabelQuery>,
    /// Go on and print each that changes
    #[arg(short, long)]
    pub watch: bool,
}

/// One thing.
#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// node, cluster, server, or node/ID, cluster/NAME, server/ID
    pub kind: String,
    /// Id, unique prefix of it, or name
    pub id: Option<String>,
}

/// A condition to wait for.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// node/ID or cluster/NAME
    #[arg(value_parser = Subject::parse)]
    pub subject: Subject,
    /// phase=Ready for a node; control-planes=3,workers=40 for a cluster
    #[arg(long = "for", value_parser = Condition::parse, value_name = "CONDITION")]
    pub condition: Condition,
}

/// A list of events.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Go on and print what comes
    #[arg(short, long)]
    pub watch: bool,
    /// Only the last while, e.g. 1h
    #[arg(long, value_parser = values::duration, value_name = "DURATION")]
    pub since: Option<Duration>,
    /// Only of this node: id, unique prefix of it, or name
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
}

/// Logs of a node.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// node/ID, or the id or name alone
    pub node: String,
    /// Go on and print what comes
    #[arg(short, long)]
    pub follow: bool,
}
