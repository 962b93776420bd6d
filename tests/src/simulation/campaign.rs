//! Many seeds on all cores, and what is kept of one that fails: enough to run it again and to see what happened.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::history::History;
use super::plan::Plan;
use super::run::{Outcome, run};

/// What many runs gave.
#[derive(Debug, Default)]
pub struct Summary {
    /// How many runs there were.
    pub runs: u64,
    /// Operations that were answered, in all of them.
    pub answered: usize,
    /// Operations of which nobody knows whether they were carried out.
    pub unknown: usize,
    /// Virtual time, in all of them.
    pub simulated: Duration,
    /// Real time.
    pub took: Duration,
    /// The longest virtual time from the last fault until the group was whole.
    pub slowest_to_heal: Duration,
    /// The runs that failed, by seed.
    pub failed: Vec<Outcome>,
}

/// A failure as it is kept.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    /// What was run.
    pub plan: Plan,
    /// What its clients saw.
    pub history: History,
    /// What was wrong.
    pub violations: Vec<String>,
}

/// Runs seeds from `first` on, `count` of them, on all cores. Ends early after a failure if `until_failure`.
#[must_use]
pub fn run_seeds(first: u64, count: u64, until_failure: bool) -> Summary {
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let enough = AtomicBool::new(false);
    let summary = Mutex::new(Summary::default());
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count || enough.load(Ordering::Relaxed) {
                        return;
                    }
                    let outcome = run(&Plan::of(first + number));
                    enough.fetch_or(until_failure && !outcome.violations.is_empty(), Ordering::Relaxed);
                    summary.lock().unwrap_or_else(PoisonError::into_inner).add(outcome);
                }
            });
        }
    });
    let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.took = began.elapsed();
    summary.failed.sort_by_key(|outcome| outcome.plan.seed);
    summary
}

impl Summary {
    fn add(&mut self, outcome: Outcome) {
        self.runs += 1;
        self.answered += outcome.history.answered().count();
        self.unknown += outcome.history.unknown();
        self.simulated += outcome.lasted;
        self.slowest_to_heal = self.slowest_to_heal.max(outcome.healed_after);
        if !outcome.violations.is_empty() {
            self.failed.push(outcome);
        }
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { runs, answered, unknown, simulated, took, slowest_to_heal, failed } = self;
        write!(
            f,
            "{runs} seeds, {} failed; {answered} operations answered, {unknown} with unknown outcome; {} s simulated in {} s; \
             whole again after {} ms at most",
            failed.len(),
            simulated.as_secs(),
            took.as_secs(),
            slowest_to_heal.as_millis(),
        )
    }
}

/// Keeps a failure in a directory: `seed-<n>.json` to run again, `seed-<n>.log` to read. Gives the first.
///
/// # Errors
/// Those of the file system.
pub fn keep(outcome: &Outcome, directory: &Path) -> std::io::Result<PathBuf> {
    fs::create_dir_all(directory)?;
    let (plan, history, violations) = (outcome.plan.clone(), outcome.history.clone(), outcome.violations.clone());
    let seed = plan.seed;
    let path = directory.join(format!("seed-{seed}.json"));
    fs::write(&path, serde_json::to_vec(&Record { plan, history, violations })?)?;
    let text = [outcome.lines.join("\n"), outcome.violations.join("\n")].join("\n\n");
    fs::write(directory.join(format!("seed-{seed}.log")), text)?;
    Ok(path)
}
