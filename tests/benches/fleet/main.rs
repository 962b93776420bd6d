//! Muster and etcd side by side: the same clients, the same machine, the same run.
//!
//! `cargo bench -p muster-tests --bench fleet [-- --servers 3 --watchers 9000 --directory DIR]`. Three etcd members with TLS and
//! client certificates and Muster's servers listen on loopback, write to the same disk with fsync on, and are loaded by this
//! process, so what a client costs is paid by both. Three things are measured:
//!
//! - durable commands with 512 bytes: a put here, `CreateToken` there, which also writes an event and remembers the request, so
//!   that a retry is done once;
//! - attaching watchers: a TLS connection with a client certificate and one stream each, attached once it heard its first
//!   message: "created" here; there the agent's identity is confirmed and its hello recorded in the log before the first
//!   instruction comes;
//! - one change of 2 KiB for each watcher: a put of the key that it watches, `LockNode` with a reason that becomes its instruction.
//!
//! Rows are measured in turns, and the middle one of the rounds is printed. "CPU" is what the servers' processes used: unlike
//! the rates it hardly depends on what else the machine does.

mod agents;
mod etcd;
mod muster;
mod rows;
mod system;
mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use muster_tests::ServerSettings;

use crate::etcd::Etcd;
use crate::muster::Muster;
use crate::rows::{Agents, CLIENTS, Commands, agents, commands};
use crate::table::Table;

/// Commands in all rounds of one row: a fleet keeps 50,000 enrolment tokens.
const COMMANDS_MAX: usize = 48_000;
/// No run takes longer: what hangs is ended, and everything that was started with it.
const RUN_MAX: Duration = Duration::from_secs(30 * 60);

/// Measures Muster beside etcd.
#[derive(Debug, Parser)]
struct Args {
    /// Servers of Muster
    #[arg(long, default_value_t = 3)]
    servers: usize,
    /// Engine of their logs
    #[arg(long, value_parser = ["sled", "redb"], default_value = "sled")]
    engine: String,
    /// Watchers, each with a connection of its own; one server takes 8,000 from one address
    #[arg(long, default_value_t = 9000)]
    watchers: usize,
    /// How often each row is measured; the middle one counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of load in one row of commands
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// The disk that is measured
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Leave etcd out
    #[arg(long)]
    without_etcd: bool,
    /// Leave the commands out
    #[arg(long)]
    without_commands: bool,
    /// Leave the watchers out
    #[arg(long)]
    without_watchers: bool,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    fn settings(&self) -> ServerSettings {
        let engine = if self.engine == "redb" { "redb" } else { "sled" };
        ServerSettings { engine, ..ServerSettings::default() }
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    let home = match &args.directory {
        Some(directory) => tempfile::tempdir_in(directory),
        None => tempfile::tempdir(),
    }?;
    let run =
        async { tokio::time::timeout(RUN_MAX, measure(&args, home.path())).await.context("the run took too long")? };
    tokio::runtime::Runtime::new()?.block_on(run)
}

async fn measure(args: &Args, home: &Path) -> Result<()> {
    let etcd = if args.without_etcd { None } else { Etcd::installed()? };
    match &etcd {
        Some(version) => println!("beside {version}, three members with TLS, client certificates and fsync"),
        None => println!("skipped etcd: not {}", if args.without_etcd { "asked for" } else { "installed" }),
    }
    Table.head();
    for clients in CLIENTS.into_iter().filter(|_| !args.without_commands) {
        measure_commands(args, &home.join(format!("commands-{clients}")), etcd.is_some(), clients).await?;
    }
    if !args.without_watchers {
        let mut theirs = None;
        if etcd.is_some() {
            let mut etcd = Etcd::start(&home.join("watchers"))?;
            etcd.ready().await?;
            theirs = Some(agents(&etcd, args.watchers, args.rounds).await.context("etcd")?);
        }
        let muster = Muster::founded(args.servers, &args.settings(), args.watchers).await?;
        let ours: Agents = agents(&muster, args.watchers, args.rounds).await.context("Muster")?;
        Table.agents(args.watchers, theirs, ours);
        muster.stop()?;
    }
    Ok(())
}

/// Both are there at the same time and take turns, so that what else the machine does harms them alike.
async fn measure_commands(args: &Args, home: &Path, beside: bool, clients: usize) -> Result<()> {
    let mut other = beside.then(|| Etcd::start(home)).transpose()?;
    if let Some(etcd) = &mut other {
        etcd.ready().await?;
    }
    let muster = Muster::founded(args.servers, &args.settings(), 0).await?;
    let most = COMMANDS_MAX / args.rounds.max(1);
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        if let Some(etcd) = &other {
            theirs.push(commands(etcd, clients, args.seconds, most).await.context("etcd")?);
        }
        ours.push(commands(&muster, clients, args.seconds, most).await.context("Muster")?);
    }
    Table.commands(clients, Commands::median(theirs), Commands::median(ours));
    muster.stop()
}
