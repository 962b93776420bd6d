//! What a group of three servers does in a second, and how long it is silent when its leader is gone: consensus itself, with calls
//! for a wire, each server with a disk of its own in one directory. What TLS and gRPC add is measured with real processes.
//!
//! `cargo bench -p muster-tests --bench group [-- DIRECTORY]`: the directory decides which disk is measured.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use muster_server::consensus::transport::{Append, Appended, Ballot, Installed, SnapshotChunk, Voted};
use muster_server::consensus::{
    Consensus, ForwardError, Forwarded, Machine, Options, Parcel, Peer, PeerHandle, ReadError, ServerId, Transport,
    TransportError,
};
use muster_state::Stamp;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

/// Commands under way at once, one row each.
const CONCURRENCY: [usize; 3] = [1, 64, 1000];
/// How long a row is measured.
const ROW: Duration = Duration::from_secs(5);
/// What etcd's benchmark writes, in bytes.
const VALUE_BYTES: usize = 512;
/// Leaders that are killed.
const KILLS: usize = 20;
const LONG: Duration = Duration::from_secs(30);

/// A state that only counts, so that the group is measured and not what it carries.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Count {
    commands: u64,
    now_ms: u64,
}

impl Machine for Count {
    type Command = String;
    type Reply = u64;
    type Change = ();

    fn apply(&mut self, _: u64, stamp: Stamp, _: String) -> muster_server::consensus::Applied<u64, ()> {
        self.commands += 1;
        self.now_ms = stamp.now_ms;
        muster_server::consensus::Applied { reply: self.commands, changes: Vec::new() }
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

/// Calls for a wire.
#[derive(Clone)]
struct Calls {
    from: ServerId,
    doors: Arc<Mutex<BTreeMap<ServerId, PeerHandle<Count>>>>,
}

impl Calls {
    /// The door of `to`; who is gone reaches nobody either.
    fn door(&self, to: ServerId) -> Result<PeerHandle<Count>, TransportError> {
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        let both = doors.contains_key(&self.from).then(|| doors.get(&to).cloned()).flatten();
        both.ok_or_else(|| TransportError::Unreachable("gone".to_owned()))
    }
}

impl Transport<Count> for Calls {
    async fn append_entries(
        &self,
        to: u64,
        _: &Peer,
        rpc: Append<Count>,
        _: Duration,
    ) -> Result<Appended, TransportError> {
        Ok(self.door(to)?.append_entries(self.from, rpc).await?)
    }

    async fn vote(&self, to: u64, _: &Peer, rpc: Ballot, _: Duration) -> Result<Voted, TransportError> {
        Ok(self.door(to)?.vote(self.from, rpc).await?)
    }

    async fn install_snapshot(
        &self,
        to: u64,
        _: &Peer,
        rpc: SnapshotChunk<Count>,
        _: Duration,
    ) -> Result<Installed, TransportError> {
        Ok(self.door(to)?.install_snapshot(self.from, rpc).await?)
    }

    async fn forward(
        &self,
        to: u64,
        _: &Peer,
        parcel: Parcel<Count>,
        _: Duration,
    ) -> Result<Result<Forwarded, ForwardError>, TransportError> {
        Ok(self.door(to)?.forward(self.from, parcel).await?)
    }

    async fn read_index(&self, to: u64, _: &Peer, _: Duration) -> Result<Result<u64, ReadError>, TransportError> {
        Ok(self.door(to)?.read_index(self.from).await?)
    }

    async fn campaign(&self, to: u64, _: &Peer, _: Duration) -> Result<(), TransportError> {
        Ok(self.door(to)?.campaign(self.from).await?)
    }
}

struct Group {
    home: PathBuf,
    doors: Arc<Mutex<BTreeMap<ServerId, PeerHandle<Count>>>>,
    servers: BTreeMap<ServerId, Consensus<Count>>,
}

fn peer(id: ServerId) -> Peer {
    Peer { address: format!("server-{id}") }
}

impl Group {
    async fn of_three(home: &Path) -> Result<Self> {
        let mut group = Self { home: home.to_owned(), doors: Arc::default(), servers: BTreeMap::new() };
        for id in 1..=3 {
            group.start(id).await?;
        }
        let founder = group.servers[&1].clone();
        founder.initialize(peer(1)).await?;
        founder.wait_ready(LONG).await?;
        for id in 2..=3 {
            founder.add_learner(id, peer(id)).await?;
        }
        founder.change_voters([1, 2, 3].into()).await?;
        Ok(group)
    }

    async fn start(&mut self, id: ServerId) -> Result<()> {
        let calls = Calls { from: id, doors: self.doors.clone() };
        let home = self.home.join(id.to_string());
        let began = Instant::now();
        let server = loop {
            match Consensus::open(Options::new(&home, id).with_transport(calls.clone())).await {
                Ok(server) => break server,
                Err(error) if began.elapsed() > LONG => return Err(error.into()),
                // One that was killed lets go of its directory a moment later.
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).insert(id, server.peer());
        self.servers.insert(id, server);
        Ok(())
    }

    fn kill(&mut self, id: ServerId) {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        self.servers.remove(&id);
    }

    async fn leader(&self) -> Result<ServerId> {
        let began = Instant::now();
        loop {
            let leads = |server: &Consensus<Count>| server.leadership().borrow().is_some();
            if let Some((id, _)) = self.servers.iter().find(|(_, server)| leads(server)) {
                return Ok(*id);
            }
            anyhow::ensure!(began.elapsed() < LONG, "nobody leads");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

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
    let mut group = Group::of_three(home).await?;
    println!(
        "{:>11}  {:>10}  {:>8}  {:>8}  {:>8}  {:>14}  {:>14}",
        "under way", "commands/s", "p50 ms", "p99 ms", "max ms", "commands/entry", "µs of CPU each"
    );
    for concurrency in CONCURRENCY {
        row(&group, concurrency).await?;
    }
    gaps(&mut group).await?;
    for server in group.servers.values() {
        server.shutdown().await;
    }
    Ok(())
}

async fn row(group: &Group, concurrency: usize) -> Result<()> {
    let leader = group.servers[&group.leader().await?].clone();
    let entries = leader.status().last_log_index;
    let (began, cpu) = (Instant::now(), cpu_time()?);
    let mut workers = JoinSet::new();
    for worker in 0..concurrency {
        let server = group.servers.values().nth(worker % group.servers.len()).context("no server")?;
        workers.spawn(work(server.clone(), began + ROW));
    }
    let mut waits = Vec::new();
    while let Some(worker) = workers.join_next().await {
        waits.extend(worker??);
    }
    let (took, cpu) = (began.elapsed(), cpu_time()? - cpu);
    let entries = leader.status().last_log_index.zip(entries).map_or(1, |(now, before)| (now - before).max(1));
    waits.sort_unstable();
    let milliseconds = |share| at(&waits, share).as_secs_f64() * 1000.0;
    println!(
        "{concurrency:>11}  {:>10.0}  {:>8.2}  {:>8.2}  {:>8.2}  {:>14.1}  {:>14.0}",
        waits.len() as f64 / took.as_secs_f64(),
        milliseconds(0.5),
        milliseconds(0.99),
        milliseconds(1.0),
        waits.len() as f64 / entries as f64,
        cpu.as_secs_f64() * 1e6 / waits.len() as f64,
    );
    Ok(())
}

async fn work(server: Consensus<Count>, until: Instant) -> Result<Vec<Duration>> {
    let value = "x".repeat(VALUE_BYTES);
    let mut waits = Vec::new();
    while Instant::now() < until {
        let asked = Instant::now();
        server.propose(value.clone(), LONG).await.context("a command was not taken")?;
        waits.push(asked.elapsed());
    }
    Ok(waits)
}

/// Kills the leader again and again while others write, and prints how long nothing was acknowledged.
async fn gaps(group: &mut Group) -> Result<()> {
    let mut gaps = Vec::new();
    for _ in 0..KILLS {
        let killed = group.leader().await?;
        let survivors: Vec<_> =
            group.servers.iter().filter(|(id, _)| **id != killed).map(|(_, server)| server.clone()).collect();
        let began = Instant::now();
        let mut writers = JoinSet::new();
        for worker in 0..16 {
            writers.spawn(acknowledged(survivors[worker % 2].clone(), began + Duration::from_secs(4)));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        group.kill(killed);
        let mut times = Vec::new();
        while let Some(writer) = writers.join_next().await {
            times.extend(writer??);
        }
        times.sort_unstable();
        gaps.push(times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default());
        group.start(killed).await?;
        group.servers[&killed].wait_ready(LONG).await?;
    }
    gaps.sort_unstable();
    println!("leader killed {KILLS} times: silent for {:?} (p50), {:?} (max)", at(&gaps, 0.5), at(&gaps, 1.0));
    println!("{gaps:?}");
    Ok(())
}

async fn acknowledged(server: Consensus<Count>, until: Instant) -> Result<Vec<Instant>> {
    let mut times = Vec::new();
    while Instant::now() < until {
        server.propose("x".repeat(VALUE_BYTES), LONG).await.context("a command was not taken")?;
        times.push(Instant::now());
    }
    Ok(times)
}

fn at(sorted: &[Duration], share: f64) -> Duration {
    sorted.get(((sorted.len().max(1) - 1) as f64 * share) as usize).copied().unwrap_or_default()
}

/// Time of all processors that this process has used, in the kernel too. Linux counts it in hundredths of a second.
fn cpu_time() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().context("no such form")?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let ticks = ticks(11).zip(ticks(12)).map(|(user, system)| user + system).context("no such form")?;
    Ok(Duration::from_millis(ticks * 10))
}
