//! Whole groups of servers under seeded faults: nothing acknowledged is lost or done twice, every answer is one that a single
//! copy could have given, all servers end with the same bytes, and what was disturbed is soon whole again.
//!
//! One seed: `SIMULATION_FIRST=4711 SIMULATION_SEEDS=1 cargo test -p muster-tests --test simulation`. Thousands: see
//! CONTRIBUTING.md. A seed that fails is kept in `target/simulation`; its `.json` in `tests/vectors/simulation` makes a test.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use muster_tests::simulation::campaign::{self, Record};
use muster_tests::simulation::{Outcome, Plan, run};

/// Which bug is planted holds for the whole process.
static PLANTED: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    PLANTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seeds in the usual test command.
const SEEDS: u64 = 200;

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

fn kept() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("simulation")
}

fn describe(failed: &[Outcome]) -> String {
    let one = |outcome: &Outcome| {
        let place =
            campaign::keep(outcome, &kept()).map_or_else(|error| error.to_string(), |path| path.display().to_string());
        format!("seed {}: {}\n  kept in {place}", outcome.plan.seed, outcome.violations.join("\n  "))
    };
    failed.iter().map(one).collect::<Vec<_>>().join("\n")
}

#[test]
fn nothing_is_lost_doubled_or_stale_whatever_goes_wrong() {
    let _alone = alone();
    let (first, count) = (setting("SIMULATION_FIRST", 0), setting("SIMULATION_SEEDS", SEEDS));
    let summary = campaign::run_seeds(first, count, false);
    println!("{summary}");
    assert!(summary.failed.is_empty(), "{summary}\n{}", describe(&summary.failed));
    // A run in which nothing is answered proves nothing.
    assert!(summary.answered as u64 > 100 * count, "{summary}");
}

#[test]
fn a_seed_means_the_same_run_each_time() {
    let _alone = alone();
    let first = setting("SIMULATION_FIRST", 1_000_000);
    for seed in first..first + setting("SIMULATION_TWINS", 4) {
        let plan = Plan::of(seed);
        let (one, other) = (run(&plan), run(&plan));
        let first = one.lines.iter().zip(&other.lines).find(|(one, other)| one != other);
        assert_eq!(first, None, "seed {seed}");
        assert_eq!((one.trace, &one.history), (other.trace, &other.history), "seed {seed}");
    }
}

#[test]
fn failures_of_the_past_stay_mended() {
    let _alone = alone();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/simulation");
    let files = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
    let mut records = 0;
    for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "json")) {
        records += 1;
        let record: Record = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        // What its clients saw then is still seen to be wrong, if it was they who saw it.
        let was_seen = record.violations.iter().any(|violation| violation.contains("no single copy"));
        assert_eq!(record.history.judge().is_err(), was_seen, "{}", path.display());
        let outcome = run(&record.plan);
        assert_eq!(outcome.violations, [""; 0], "{}", path.display());
    }
    assert!(records > 0, "none was found");
}

/// Needs the feature `planted-bugs`, and takes minutes: see CONTRIBUTING.md. `PLANTED_BUG=EarlyAck` tries one.
#[cfg(feature = "planted-bugs")]
#[test]
fn every_planted_bug_is_caught_within_five_hundred_seeds() {
    use muster_state::planted::{Bug, plant};
    let _alone = alone();
    let wanted = std::env::var("PLANTED_BUG").ok();
    let mut missed = Vec::new();
    // What a bug does to openraft's own assertions is no news here.
    std::panic::set_hook(Box::new(|_| {}));
    for bug in Bug::ALL.iter().filter(|bug| wanted.as_ref().is_none_or(|wanted| *wanted == format!("{bug:?}"))) {
        plant(Some(*bug));
        let summary = campaign::run_seeds(0, setting("SIMULATION_SEEDS", 500), true);
        plant(None);
        match summary.failed.first() {
            None => missed.push(*bug),
            Some(outcome) => {
                let violation = outcome.violations.first().map_or("", String::as_str);
                let line: String = violation.lines().next().unwrap_or("").chars().take(160).collect();
                let (seed, tried, took) = (outcome.plan.seed, summary.runs, summary.took.as_secs());
                println!("{bug:?}: caught by seed {seed} of {tried} tried, in {took} s: {line}");
            }
        }
    }
    drop(std::panic::take_hook());
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
