//! How long nothing is acknowledged when the server that leads is killed, and whether a disk that stalls costs an election.
//!
//! `cargo bench -p muster-tests --bench failover [-- --kills 100 --soak-minutes 10 --engine sled]`. Three servers, each a process
//! of its own, with TLS, gRPC and fsync, on loopback, and operators who change something all the time on all three of them.
//!
//! - Fail-over: `kill -9` of the leader; the figure is the longest time in which no operator got anything acknowledged, from the
//!   kill until the killed server was back and had caught up.
//! - Soak: every few seconds the disk of one server, in turn, takes half a second longer to synchronise, as a disk behind a busy
//!   controller does. Nobody is killed, so each new term is a needless election.
//!
//! In both everything that was acknowledged must be there at the end, on each server.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use muster_tests::disk::{Fault, Mains};
use muster_tests::{FailOver, Fleet, Ordeal, Pace, ServerSettings, percentile};

const SERVERS: usize = 3;
/// About 400 changes a second, one of ten a token: a fleet keeps 50,000.
const PACE: Pace = Pace { operators: 16, each: Duration::from_millis(40), per_token: 10 };
/// What a stalled disk takes longer.
const STALL: Duration = Duration::from_millis(500);
/// For so long each synchronisation that begins is stalled: one after the other, so it is one.
const STALL_WINDOW: Duration = Duration::from_millis(250);
/// Between two stalls.
const STALL_EVERY: Duration = Duration::from_secs(5);
/// Flushes that took longer than this were stalled; a bucket of the servers' own metrics.
const STALLED: &str = "muster_storage_flush_duration_seconds_bucket{le=\"0.25\"}";
const FLUSHES: &str = "muster_storage_flush_duration_seconds_count";

/// Measures fail-over.
#[derive(Debug, Parser)]
struct Args {
    /// Leaders that are killed
    #[arg(long, default_value_t = 100)]
    kills: usize,
    /// Length of the soak
    #[arg(long, default_value_t = 10)]
    soak_minutes: u64,
    /// Engine of the logs
    #[arg(long, value_parser = ["sled", "redb"], default_value = "sled")]
    engine: String,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let engine = if args.engine == "redb" { "redb" } else { "sled" };
    let settings = ServerSettings { engine, ..ServerSettings::default() };
    if args.kills > 0 {
        kills(&settings, args.kills)?;
    }
    if args.soak_minutes > 0 {
        soak(&settings, Duration::from_secs(60 * args.soak_minutes))?;
    }
    Ok(())
}

fn kills(settings: &ServerSettings, kills: usize) -> Result<()> {
    let mut ordeal = Ordeal::begin(Fleet::with(SERVERS, settings)?, PACE)?;
    let (began, mut seen) = (Instant::now(), Vec::new());
    for kill in 0..kills {
        let fail_over = ordeal.kill_leader().with_context(|| format!("kill {kill}"))?;
        println!("kill {kill}: {} ms, {} term(s)", fail_over.silence.as_millis(), fail_over.terms);
        seen.push(fail_over);
        if kill % 10 == 9 {
            ordeal.nothing_is_lost(&[kill % SERVERS])?;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let (changes, tokens) = ordeal.end()?;
    report(seen);
    println!("{changes} changes acknowledged in {seconds:.0} s; {tokens} tokens looked for on each server, none lost");
    Ok(())
}

fn report(seen: Vec<FailOver>) {
    let split = seen.iter().filter(|fail_over| fail_over.terms > 1).count();
    let mut silences: Vec<Duration> = seen.iter().map(|fail_over| fail_over.silence).collect();
    silences.sort_unstable();
    let at = |share| percentile(&silences, share).as_millis();
    println!(
        "{} leaders killed: silent for p50 {} ms, p90 {} ms, p99 {} ms, longest {} ms; {split} took more than one term",
        silences.len(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0),
    );
}

fn soak(settings: &ServerSettings, length: Duration) -> Result<()> {
    let (mut fleet, mains) = (Fleet::with(SERVERS, settings)?, Mains::new()?);
    let slow: Vec<PathBuf> = fleet.servers.iter().map(|server| server.home().join("stalls")).collect();
    for (server, only_while) in fleet.servers.iter_mut().zip(&slow) {
        server.stop()?;
        server.plug_past(&mains)?;
        server.break_disk(&Fault::Stall { by: STALL, every: 1, only_while: Some(only_while.clone()) });
        server.start()?;
        server.wait_ready()?;
    }
    let ordeal = Ordeal::begin(fleet, PACE)?;
    let (began, term, stalled) = (Instant::now(), ordeal.term()?, stalled(&ordeal.fleet)?);
    let first = tokio::time::Instant::now();
    let mut stalls = 0;
    while began.elapsed() < length {
        sleep(STALL_EVERY);
        let file = &slow[stalls % SERVERS];
        std::fs::write(file, [])?;
        sleep(STALL_WINDOW);
        std::fs::remove_file(file)?;
        stalls += 1;
    }
    ordeal.at_work()?;
    let (silence, elections) = (ordeal.crowd.longest_silence(first), ordeal.term()? - term);
    let seen = self::stalled(&ordeal.fleet)? - stalled;
    ensure!(seen >= stalls as f64 * 0.9, "only {seen} of {stalls} stalls hit a flush of the log");
    let (changes, tokens) = ordeal.end()?;
    println!(
        "soak of {:.0} s: {stalls} stalls of {STALL:?} ({seen} flushes of the log were hit), {elections} elections, longest \
         silence {} ms, {changes} changes acknowledged; {tokens} tokens looked for on each server, none lost",
        began.elapsed().as_secs_f64(),
        silence.as_millis(),
    );
    ensure!(elections == 0, "{elections} needless elections");
    Ok(())
}

/// Flushes of all logs that took longer than a stall may be mistaken for.
fn stalled(fleet: &Fleet) -> Result<f64> {
    let of = |number| Ok(fleet.figure(number, FLUSHES)? - fleet.figure(number, STALLED)?);
    (0..SERVERS).map(of).sum()
}
