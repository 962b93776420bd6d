//! What can be typed. Nothing here acts; every field is read by the verb in `command`.

mod backup;
mod cluster;
mod etcd;
mod local;
mod node;
mod read;
mod seal;
mod server;
mod token;
mod values;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use backup::{BackupArgs, BackupCommand, BackupKeyArgs, RestoreArgs, VerifyBackupArgs};
pub use cluster::{ApplyArgs, ClusterCommand, CreateArgs, CredentialsArgs, ImportArgs, JoinCommandArgs};
pub use etcd::{EtcdArgs, EtcdCommand, RemoveEtcdMemberArgs};
pub use local::{
    CompletionArgs, ConvertArgs, DemoArgs, HelpArgs, PinArgs, ServeArgs, SnippetArgs, SnippetKind, StorageCommand,
    VersionArgs,
};
pub use node::{ApproveArgs, NodeArgs, NodeCommand};
pub use read::{DescribeArgs, EventsArgs, GetArgs, Kind, LogsArgs, WaitArgs};
pub use seal::{OperatorCommand, SealCommand};
pub use server::{
    ApproveServerArgs, CreateServerTokenArgs, JoinServerArgs, ListServersArgs, RemoveServerArgs, ServerArgs,
    ServerCommand, ServerTokenCommand, TransferLeaderArgs,
};
pub use token::{CreateTokenArgs, RenewTokenArgs, RevokeTokenArgs, TokenCommand};
pub use values::{Condition, LabelQuery, SelectorTerm, Subject};

/// Muster brings fleets of bare machines into Kubernetes.
#[derive(Debug, Parser)]
#[command(
    name = "muster",
    version,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    after_help = "Exit codes: muster help exit-codes"
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Default, Args)]
pub struct Globals {
    /// Context of the configuration file to use, instead of its current one
    #[arg(long, global = true, value_name = "NAME", help_heading = "Global options")]
    pub context: Option<String>,
    /// Cluster to act on; needed only when there is more than one
    #[arg(long, global = true, value_name = "CLUSTER", help_heading = "Global options")]
    pub cluster: Option<String>,
    /// Servers to call instead of those of the context, e.g. https://192.0.2.1:9445
    #[arg(
        long,
        global = true,
        env = "MUSTER_SERVER",
        value_name = "URL",
        value_delimiter = ',',
        help_heading = "Global options"
    )]
    pub server: Vec<String>,
    /// File with the contexts [env: MUSTER_CONFIG] [default: ~/.config/muster/config.toml]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub config: Option<PathBuf>,
    /// How the answer looks
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        help_heading = "Global options"
    )]
    pub output: Format,
    /// No colours (also NO_COLOR, and whenever standard output is no terminal)
    #[arg(long, global = true, help_heading = "Global options")]
    pub no_color: bool,
    /// Only data and errors: no progress, no "Next:" lines
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub quiet: bool,
    /// Say which server is called
    #[arg(short, long, global = true, conflicts_with = "quiet", help_heading = "Global options")]
    pub verbose: bool,
    /// How long to wait for an answer, e.g. 30s [default: 30s; of `wait`: 30m]
    #[arg(long, global = true, value_parser = values::duration, value_name = "DURATION", help_heading = "Global options")]
    pub timeout: Option<Duration>,
}

/// How an answer is written to standard output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// More columns.
    Wide,
    /// The protobuf message in its canonical JSON, with apiVersion and kind.
    Json,
    /// The same as YAML.
    Yaml,
    /// kind/id, one per line.
    Name,
}

/// One verb, or a noun with its verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a server; the first start makes a one-server fleet
    Serve(ServeArgs),
    /// A whole fleet on loopback with rehearsed kubeadm: nothing on this machine is changed
    Demo(DemoArgs),
    /// Work on the disk of a server that does not run
    #[command(subcommand)]
    Storage(StorageCommand),
    /// The whole fleet in one file, sealed to a key that stays here; or a look at such a file
    Backup(BackupArgs),
    /// Fill an empty data directory from a backup: the fleet goes on under a new id
    Restore(RestoreArgs),
    /// Create, import, apply, list and describe clusters
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// List the members of a linked cluster's etcd, and take one out
    #[command(subcommand)]
    Etcd(EtcdCommand),
    /// The keys that secrets are sealed with: look at them, start a new one
    #[command(subcommand)]
    Seal(SealCommand),
    /// The certificate of whoever types this
    #[command(subcommand)]
    Operator(OperatorCommand),
    /// Add servers to the fleet; list, approve, promote and remove them
    #[command(subcommand)]
    Server(ServerCommand),
    /// A plain kubeadm join line that works now, for a machine without an agent (it holds a secret)
    JoinCommand(JoinCommandArgs),
    /// sha256:… of every certificate in a file, as kubeadm wants it
    Pin(PinArgs),
    /// Make, list, revoke and renew enrolment tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// List things
    Get(GetArgs),
    /// One thing in full, with its last events and the next action
    Describe(DescribeArgs),
    /// One screen: seal, leader, nodes per phase, tokens, certificates; the exit code tells
    Status,
    /// Wait until a node or a cluster is as told
    Wait(WaitArgs),
    /// What happened
    Events(EventsArgs),
    /// What kubeadm said on a node
    Logs(LogsArgs),
    /// Approve, deny, retry, remove, lock and unlock nodes
    #[command(subcommand)]
    Node(NodeCommand),
    /// Lines to paste into what boots the machines
    Snippet(SnippetArgs),
    /// Completion script of a shell
    Completion(CompletionArgs),
    /// Version of this program and of the server
    Version(VersionArgs),
    /// Help on a command, or on `exit-codes`
    Help(HelpArgs),
}
