//! Power cuts: whatever was acknowledged is there afterwards, on either engine.
//!
//! A process proposes through the real consensus on a real disk under a shim that keeps what was really synchronised. It loses
//! power at a random moment, or at each synchronisation in turn, and goes on from what is left. Two kinds of cut: see
//! [`Cut`].
//!
//! See it fail: `cargo test -p muster-tests --test power_cut --features planted-bug-no-fsync`, or `-no-directory-fsync`.
//! Repeat a run: `POWER_CUT_SEED=… cargo test -p muster-tests --test power_cut`. More cuts: `POWER_CUTS=1000`.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use muster_server::storage::Engine;
use muster_tests::disk::{Chance, Cut, Fault, Load, Mains, Setup, Variable, serial_in};

/// Acknowledgements seen before the plug is pulled, at most; the actual number is random.
const ACKS_BEFORE_CUT_MAX: u64 = 400;

/// Processes that lose power together.
const TOGETHER: usize = 3;

#[test]
fn nothing_acknowledged_is_lost_on_sled_when_only_synchronised_bytes_survive() {
    cut_power_again_and_again(Cut::Strict, |_| Engine::Sled).unwrap();
}

#[test]
fn nothing_acknowledged_is_lost_on_redb_when_only_synchronised_bytes_survive() {
    cut_power_again_and_again(Cut::Strict, |_| Engine::Redb).unwrap();
}

#[test]
fn nothing_acknowledged_is_lost_on_sled_when_unsynchronised_pages_survive_by_chance() {
    cut_power_again_and_again(Cut::Torn, |_| Engine::Sled).unwrap();
}

#[test]
fn nothing_acknowledged_is_lost_on_redb_when_unsynchronised_pages_survive_by_chance() {
    cut_power_again_and_again(Cut::Torn, |_| Engine::Redb).unwrap();
}

#[test]
fn nothing_acknowledged_is_lost_while_the_log_moves_from_engine_to_engine() {
    cut_power_again_and_again(Cut::Torn, |round| Engine::ALL[usize::try_from(round % 2).unwrap_or(0)]).unwrap();
}

#[test]
fn a_power_cut_at_any_of_the_first_synchronisations_leaves_a_server_that_starts() {
    for engine in Engine::ALL {
        cut_at_each(40, engine, engine).unwrap();
    }
}

#[test]
fn a_power_cut_at_any_moment_of_a_conversion_leaves_one_whole_log() {
    cut_at_each(24, Engine::Sled, Engine::Redb).unwrap();
    cut_at_each(24, Engine::Redb, Engine::Sled).unwrap();
}

#[test]
fn processes_that_lose_power_at_the_same_instant_all_keep_what_they_acknowledged() {
    cut_all_together().unwrap();
}

fn rounds(usual: u64) -> u64 {
    std::env::var("POWER_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(usual)
}

fn start(disk: &Path, engine: Engine, variables: &[Variable]) -> Result<Load> {
    let program = Path::new(env!("CARGO_BIN_EXE_storage_load"));
    Load::start(Setup { program, disk, engine, variables: variables.to_vec() })
}

fn nothing_is_lost(acknowledged: &BTreeSet<u64>, there: &BTreeSet<u64>, when: &str) -> Result<()> {
    let lost: Vec<_> = acknowledged.difference(there).collect();
    ensure!(lost.is_empty(), "{} of {} acknowledged writes are lost {when}: {lost:?}", lost.len(), acknowledged.len());
    Ok(())
}

fn cut_power_again_and_again(cut: Cut, engine: impl Fn(u64) -> Engine) -> Result<()> {
    let cuts = rounds(20);
    let mut chance = Chance::new();
    let home = tempfile::tempdir()?;
    let mut mains = Mains::new()?;
    let variables = mains.plug_in(home.path())?;
    let mut acknowledged = BTreeSet::new();
    for round in 0..=cuts {
        let when = format!("after cut {round}");
        let mut load = start(home.path(), engine(round), &variables)?;
        let there = load.read_until_ready().with_context(|| when.clone())?;
        nothing_is_lost(&acknowledged, &there, &when)?;
        acknowledged.extend(load.read_acks(1 + chance.below(ACKS_BEFORE_CUT_MAX))?);
        mains.cut()?;
        acknowledged.extend(load.kill()?);
        mains.restore(cut, &mut chance)?;
    }
    let there = start(home.path(), engine(cuts), &variables)?.read_until_ready().context("after the last cut")?;
    nothing_is_lost(&acknowledged, &there, "after the last cut")?;
    ensure!(acknowledged.len() as u64 > cuts, "only {} acknowledgements: nothing was tried", acknowledged.len());
    println!("{} power cuts, {} acknowledged writes, none lost", cuts + 1, acknowledged.len());
    Ok(())
}

/// Fills a log with `before` and goes on with `after`, with a cut at each of the first synchronisations of the second start.
fn cut_at_each(first: u64, before: Engine, after: Engine) -> Result<()> {
    let mut chance = Chance::new();
    let mut mains = Mains::new()?;
    let mut counted = 0;
    for (at, cut) in (1..=first).flat_map(|at| Cut::ALL.map(|cut| (at, cut))) {
        let when = format!("after {cut:?} at synchronisation {at}");
        let home = tempfile::tempdir()?;
        mains.unplug_all()?;
        let variables = mains.plug_in(home.path())?;
        let mut acknowledged = BTreeSet::new();
        if before != after {
            let mut load = start(home.path(), before, &variables)?;
            acknowledged.extend(load.read_acks(60)?);
            acknowledged.extend(load.kill()?);
        }
        let mut cutting = variables.clone();
        cutting.extend(Fault::CutAt(at).variables());
        let mut load = start(home.path(), after, &cutting)?;
        let mut there = BTreeSet::new();
        while let Some(line) = load.next_line()? {
            there.extend(serial_in(&line, "have")?);
            acknowledged.extend(serial_in(&line, "ack")?);
        }
        counted += u64::from(load.wait()?.code() == Some(77));
        mains.restore(cut, &mut chance)?;
        let there = start(home.path(), after, &variables)?.read_until_ready().with_context(|| when.clone())?;
        nothing_is_lost(&acknowledged, &there, &when)?;
    }
    ensure!(counted == 2 * first, "only {counted} of {} cuts came", 2 * first);
    Ok(())
}

fn cut_all_together() -> Result<()> {
    let cuts = rounds(6);
    let mut chance = Chance::new();
    let homes = [(); TOGETHER].map(|()| tempfile::tempdir());
    let mut mains = Mains::new()?;
    let mut disks = Vec::new();
    for (home, engine) in homes.into_iter().zip(Engine::ALL.into_iter().cycle()) {
        let home = home?;
        let variables = mains.plug_in(home.path())?;
        disks.push((home, engine, variables, BTreeSet::new()));
    }
    for round in 0..=cuts {
        let mut loads = Vec::new();
        for (home, engine, variables, _) in &disks {
            loads.push(start(home.path(), *engine, variables)?);
        }
        for (load, (.., acknowledged)) in loads.iter_mut().zip(&disks) {
            let there = load.read_until_ready().with_context(|| format!("after cut {round}"))?;
            nothing_is_lost(acknowledged, &there, &format!("after cut {round}"))?;
        }
        for (load, (.., acknowledged)) in loads.iter_mut().zip(&mut disks) {
            acknowledged.extend(load.read_acks(1 + chance.below(ACKS_BEFORE_CUT_MAX / 4))?);
        }
        mains.cut()?;
        for (load, (.., acknowledged)) in loads.into_iter().zip(&mut disks) {
            acknowledged.extend(load.kill()?);
        }
        mains.restore(if chance.coin() { Cut::Strict } else { Cut::Torn }, &mut chance)?;
    }
    let acknowledged: usize = disks.iter().map(|(.., acknowledged)| acknowledged.len()).sum();
    println!("{cuts} cuts of {TOGETHER} disks at once, {acknowledged} acknowledged writes, none lost");
    Ok(())
}
