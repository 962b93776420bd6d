//! The measurements, the same for each system.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use muster_tests::percentile;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::system::{System, Watcher, Writer, cpu, memory, quiet};

/// Clients that wait for an answer each before they send the next command; a row each.
pub(crate) const CLIENTS: [usize; 3] = [1, 64, 1000];
/// Connections of all writers together at most, as etcd's own benchmark is run; the rest share them.
const CONNECTIONS_MAX: usize = 99;
/// Writers that deliver changes.
const DELIVERING: usize = 999;
/// Watchers that are connecting at the same time.
const ATTACHING: usize = 128;
/// How long a round of changes may take.
const ROUND_MAX: Duration = Duration::from_secs(180);

/// Durable commands with some number of clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Commands {
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// CPU of the servers for each command.
    pub(crate) cpu: Duration,
}

/// How watchers came and were told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Agents {
    /// First attachment of all.
    pub(crate) attach: Attach,
    /// Attachment of all once more, as after the loss of a server: the middle of the rounds.
    pub(crate) again: Option<Attach>,
    /// Bytes of the servers' memory for each.
    pub(crate) memory: f64,
    pub(crate) delivery: Commands,
}

/// Attachments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attach {
    pub(crate) per_second: f64,
    /// CPU of the servers for each.
    pub(crate) cpu: Duration,
}

impl Commands {
    fn of(mut waits: Vec<Duration>, took: Duration, cpu: Duration) -> Self {
        waits.sort_unstable();
        let per_second = waits.len() as f64 / took.as_secs_f64();
        let cpu = cpu.div_f64(waits.len().max(1) as f64);
        Self { per_second, p50: percentile(&waits, 0.5), p99: percentile(&waits, 0.99), cpu }
    }

    /// The round in the middle by rate.
    pub(crate) fn median(rounds: Vec<Self>) -> Option<Self> {
        median(rounds, |round| round.per_second)
    }
}

fn median<T: Copy>(mut rounds: Vec<T>, by: impl Fn(&T) -> f64) -> Option<T> {
    rounds.sort_by(|one, other| by(one).total_cmp(&by(other)));
    rounds.get(rounds.len() / 2).copied()
}

/// Sends commands from `clients` clients for some seconds, and no more than `most`: what they make is kept, within bounds.
pub(crate) async fn commands(system: &impl System, clients: usize, seconds: u64, most: usize) -> Result<Commands> {
    let writers = writers(system, clients).await?;
    quiet(&system.processes()).await?;
    let used = cpu(&system.processes())?;
    let began = Instant::now();
    let until = began + Duration::from_secs(seconds);
    let sent = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let (writer, sent) = (writers[client % writers.len()].clone(), sent.clone());
        tasks.spawn(async move {
            let mut waits = Vec::new();
            while Instant::now() < until && sent.fetch_add(1, Ordering::Relaxed) < most {
                let asked = Instant::now();
                writer.command().await?;
                waits.push(asked.elapsed());
            }
            anyhow::Ok(waits)
        });
    }
    let mut waits = Vec::new();
    while let Some(done) = tasks.join_next().await {
        waits.extend(done??);
    }
    let took = began.elapsed();
    Ok(Commands::of(waits, took, cpu(&system.processes())?.saturating_sub(used)))
}

async fn writers<S: System>(system: &S, clients: usize) -> Result<Vec<S::Writer>> {
    let mut writers = Vec::new();
    for number in 0..clients.min(CONNECTIONS_MAX) {
        writers.push(system.writer(number).await?);
    }
    Ok(writers)
}

/// Attaches watchers, tells each of them something, and lets them come back.
pub(crate) async fn agents<S: System>(system: &S, count: usize, rounds: usize) -> Result<Agents> {
    let servers = system.processes();
    quiet(&servers).await?;
    let before = memory(&servers)?;
    let (mut watchers, first) = attach(system, count).await?;
    quiet(&servers).await?;
    let memory = memory(&servers)?.saturating_sub(before) as f64 / count as f64;
    let writers = writers(system, DELIVERING).await?;
    let mut deliveries = Vec::new();
    for round in 0..rounds {
        deliveries.push(deliver(system, &writers, &mut watchers, round).await?);
        restore(&writers, count).await?;
    }
    let mut again = Vec::new();
    for _ in 1..rounds {
        watchers.clear();
        quiet(&servers).await?;
        let (anew, attached) = attach(system, count).await?;
        watchers = anew;
        again.push(attached);
    }
    let delivery = Commands::median(deliveries).context("no round")?;
    Ok(Agents { attach: first, again: median(again, |round| round.per_second), memory, delivery })
}

async fn attach<S: System>(system: &S, count: usize) -> Result<(Vec<S::Watcher>, Attach)> {
    let mut prepared = Vec::new();
    for number in 0..count {
        prepared.push(system.attach(number)?);
    }
    let turns = Arc::new(Semaphore::new(ATTACHING));
    let used = cpu(&system.processes())?;
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for (number, watcher) in prepared.into_iter().enumerate() {
        let turns = turns.clone();
        tasks.spawn(async move {
            let _turn = turns.acquire().await?;
            anyhow::Ok((number, watcher.await.with_context(|| format!("watcher {number}"))?))
        });
    }
    let mut watchers = Vec::new();
    while let Some(done) = tasks.join_next().await {
        watchers.push(done??);
    }
    let took = began.elapsed();
    let used = cpu(&system.processes())?.saturating_sub(used);
    watchers.sort_by_key(|(number, _)| *number);
    let attach = Attach { per_second: count as f64 / took.as_secs_f64(), cpu: used.div_f64(count as f64) };
    Ok((watchers.into_iter().map(|(_, watcher)| watcher).collect(), attach))
}

/// Changes something for each watcher and waits until all have heard of it. A wait is from before the change is asked for
/// until the watcher has it.
async fn deliver<S: System>(
    system: &S,
    writers: &[S::Writer],
    watchers: &mut Vec<S::Watcher>,
    round: usize,
) -> Result<Commands> {
    quiet(&system.processes()).await?;
    let count = watchers.len();
    let mut waiting = JoinSet::new();
    for (number, mut watcher) in std::mem::take(watchers).into_iter().enumerate() {
        waiting.spawn(async move {
            watcher.changed(round).await.with_context(|| format!("watcher {number}"))?;
            anyhow::Ok((number, Instant::now(), watcher))
        });
    }
    let used = cpu(&system.processes())?;
    let began = Instant::now();
    let asked = in_turns(writers, count, move |writer: S::Writer, number| async move {
        let asked = Instant::now();
        writer.change(number, round).await?;
        Ok(asked)
    });
    let heard = async {
        let mut heard = Vec::new();
        while let Some(done) = waiting.join_next().await {
            heard.push(done??);
        }
        anyhow::Ok(heard)
    };
    let Ok(both) = tokio::time::timeout(ROUND_MAX, async { tokio::try_join!(asked, heard) }).await else {
        bail!("not all changes arrived within {ROUND_MAX:?}");
    };
    let (asked, mut heard) = both?;
    let took = heard.iter().map(|(_, at, _)| *at).max().context("no watcher")?.duration_since(began);
    let used = cpu(&system.processes())?.saturating_sub(used);
    heard.sort_by_key(|(number, ..)| *number);
    let waits = asked.iter().zip(&heard).map(|(asked, (_, at, _))| at.duration_since(*asked)).collect();
    watchers.extend(heard.into_iter().map(|(.., watcher)| watcher));
    Ok(Commands::of(waits, took, used))
}

async fn restore<W: Writer>(writers: &[W], count: usize) -> Result<()> {
    in_turns(writers, count, |writer: W, number| async move { writer.restore(number).await }).await?;
    Ok(())
}

/// Does something for each number from zero on, by [`DELIVERING`] clients; gives the results in order.
async fn in_turns<W, T, F, Fut>(writers: &[W], count: usize, work: F) -> Result<Vec<T>>
where
    W: Writer,
    T: Send + 'static,
    F: Fn(W, usize) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<T>> + Send,
{
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for client in 0..DELIVERING {
        let (writer, next, work) = (writers[client % writers.len()].clone(), next.clone(), work.clone());
        tasks.spawn(async move {
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return anyhow::Ok(done);
                }
                done.push((number, work(writer.clone(), number).await?));
            }
        });
    }
    let mut all = Vec::new();
    while let Some(done) = tasks.join_next().await {
        all.extend(done??);
    }
    all.sort_by_key(|(number, _)| *number);
    Ok(all.into_iter().map(|(_, done)| done).collect())
}
