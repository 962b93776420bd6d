//! A process to be killed: proposes serials through the real consensus on a real disk, and says which are acknowledged.
//!
//! `storage_load DIRECTORY ENGINE` moves a log that another engine wrote, prints `have N` for each serial that is there after
//! opening, `ready`, and then `ack N` for each that was acknowledged, until it is killed or standard input ends.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use muster_server::consensus::{Applied, Consensus, Machine, Options, Peer};
use muster_server::storage::{Engine, directory::DataDirectory, rewrite};
use muster_state::Stamp;
use serde::{Deserialize, Serialize};

/// Proposals under way at once: enough that batches form.
const WORKERS: usize = 24;

/// Entries between snapshots: few, so that cuts fall into snapshots and purges too.
const SNAPSHOT_EVERY: u64 = 40;

const WITHIN: Duration = Duration::from_secs(30);

/// The serials that were written.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Ledger {
    serials: BTreeSet<u64>,
    now_ms: u64,
}

#[derive(Clone, Serialize, Deserialize)]
struct Write {
    serial: u64,
    padding: String,
}

impl Machine for Ledger {
    type Command = Write;
    type Reply = bool;
    type Change = u64;

    fn apply(&mut self, _index: u64, stamp: Stamp, command: Write) -> Applied<bool, u64> {
        self.now_ms = self.now_ms.max(stamp.now_ms);
        Applied { reply: self.serials.insert(command.serial), changes: vec![command.serial] }
    }

    fn latest(&self) -> Stamp {
        Stamp { now_ms: self.now_ms }
    }

    fn to_snapshot(&self) -> Result<Vec<u8>, String> {
        serde_json::to_vec(self).map_err(|error| error.to_string())
    }

    fn from_snapshot(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (directory, engine) = arguments.next().zip(arguments.next()).context("usage: storage_load DIRECTORY ENGINE")?;
    let engine = Engine::of_name(&engine).context("ENGINE is sled or redb")?;
    let keeper = DataDirectory::open(directory.as_ref())?.engine()?;
    if keeper.is_some_and(|keeper| keeper != engine) {
        rewrite::convert(directory.as_ref(), engine)?;
    }
    let mut options = Options::new(directory, 1);
    options.engine = engine;
    options.snapshot_every = SNAPSHOT_EVERY;
    let ledger = Consensus::<Ledger>::open(options).await?;
    ledger.initialize(Peer { address: "127.0.0.1:9446".to_owned() }).await?;
    ledger.wait_ready(WITHIN).await?;
    let there = ledger.read(|ledger| ledger.serials.clone());
    there.iter().for_each(|serial| say(&format!("have {serial}")));
    say("ready");
    let next = Arc::new(AtomicU64::new(there.last().map_or(1, |last| last + 1)));
    for _ in 0..WORKERS {
        tokio::spawn(work(ledger.clone(), next.clone()));
    }
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}

async fn work(ledger: Consensus<Ledger>, next: Arc<AtomicU64>) {
    loop {
        let serial = next.fetch_add(1, Ordering::Relaxed);
        // Mostly one value of the backend, often several, now and then an entry of its own.
        let padding = match serial % 97 {
            0 => 300_000,
            1..10 => 9_000,
            small => small * 10,
        };
        let padding = "x".repeat(usize::try_from(padding).unwrap_or_default());
        match ledger.propose(Write { serial, padding }, WITHIN).await {
            Ok(true) => say(&format!("ack {serial}")),
            Ok(false) => say(&format!("twice {serial}")),
            Err(error) => say(&format!("failed {error}")),
        }
    }
}

/// One line in one write, so that a kill never leaves half a line.
fn say(line: &str) {
    let _ = std::io::stdout().lock().write_all(format!("{line}\n").as_bytes());
}
