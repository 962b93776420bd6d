//! How many commands one server makes durable in a second, and how long each waits: through the ledger's own path, that is
//! batcher, Raft, storage with its fsync, state and reply. The command is an enrolment: a rack of machines that boots at once sends
//! nothing else, and a machine that waits for approval sends it again whenever it reconnects.
//!
//! `cargo bench -p muster-tests --bench commands [-- DIRECTORY]`: the directory decides which disk is measured.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use muster_server::consensus::{Consensus, Options, Peer};
use muster_server::ledger::Ledger;
use muster_state::command::Enrol;
use muster_state::facts::Facts;
use muster_state::{Bytes, Digest, NodeId, State};
use muster_tests::percentile;
use tokio::task::JoinSet;

/// Commands under way at once, one row each.
const CONCURRENCY: [usize; 4] = [1, 16, 128, 1000];
/// How long a row is measured.
const ROW: Duration = Duration::from_secs(10);
/// Machines that enrol, again and again; one number fits a byte of a key.
const MACHINES: usize = 200;

fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let directory = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let home = match directory {
        Some(directory) => tempfile::tempdir_in(directory),
        None => tempfile::tempdir(),
    }?;
    tokio::runtime::Runtime::new()?.block_on(measure(home.path()))
}

async fn measure(home: &Path) -> Result<()> {
    let consensus: Consensus<State> = Consensus::open(Options::new(home.join("data"), 1)).await?;
    consensus.initialize(Peer { address: "127.0.0.1".to_owned() }).await?;
    consensus.wait_ready(Duration::from_secs(60)).await?;
    let ledger = Ledger::new(consensus.clone());
    for machine in 0..MACHINES {
        ledger.propose(mk_enrol(machine)?).await?;
    }
    println!(
        "{:>11}  {:>10}  {:>9}  {:>9}  {:>9}  {:>16}",
        "under way", "commands/s", "p50 ms", "p99 ms", "max ms", "commands/fsync"
    );
    for concurrency in CONCURRENCY {
        row(&ledger, concurrency).await?;
    }
    consensus.shutdown().await;
    Ok(())
}

async fn row(ledger: &Ledger, concurrency: usize) -> Result<()> {
    let syncs = ledger.status().log_syncs;
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for worker in 0..concurrency {
        workers.spawn(work(ledger.clone(), worker, began + ROW));
    }
    let mut waits = Vec::new();
    while let Some(worker) = workers.join_next().await {
        waits.extend(worker??);
    }
    let took = began.elapsed();
    let syncs = (ledger.status().log_syncs - syncs).max(1);
    waits.sort_unstable();
    let milliseconds = |share| percentile(&waits, share).as_secs_f64() * 1000.0;
    println!(
        "{concurrency:>11}  {:>10.0}  {:>9.2}  {:>9.2}  {:>9.2}  {:>16.1}",
        waits.len() as f64 / took.as_secs_f64(),
        milliseconds(0.5),
        milliseconds(0.99),
        milliseconds(1.0),
        waits.len() as f64 / syncs as f64,
    );
    Ok(())
}

/// Enrols the same machine, one time after the other, until the row ends.
async fn work(ledger: Ledger, worker: usize, until: Instant) -> Result<Vec<Duration>> {
    let enrol = mk_enrol(worker % MACHINES)?;
    let mut waits = Vec::new();
    while Instant::now() < until {
        let asked = Instant::now();
        ledger.propose(enrol.clone()).await.context("an enrolment was not taken")?;
        waits.push(asked.elapsed());
    }
    Ok(waits)
}

fn mk_id(machine: usize) -> NodeId {
    NodeId(format!("00000000-0000-4000-8000-{machine:012}"))
}

fn mk_enrol(machine: usize) -> Result<Enrol> {
    let number = u8::try_from(machine)?;
    Ok(Enrol {
        candidate: mk_id(machine),
        token: None,
        key: Digest([number; 32]),
        csr: Bytes(vec![number; 220]),
        sealing_key: Bytes(vec![number; 32]),
        facts: mk_facts(machine),
        from: format!("10.0.0.{machine}"),
    })
}

fn mk_facts(machine: usize) -> Facts {
    Facts {
        uuid: format!("4c4c4544-0000-4000-8000-{machine:012}"),
        serial: format!("SERIAL{machine:06}"),
        macs: vec![format!("52:54:00:00:00:{machine:02x}")],
        hostname: format!("machine-{machine}"),
        architecture: "x86_64".to_owned(),
        ..Facts::default()
    }
}
