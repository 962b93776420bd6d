//! Power cuts: whatever was acknowledged is there afterwards.
//!
//! A process proposes through the real consensus on a real disk under a shim that keeps a second copy of its directory: what
//! was really synchronised. It is killed at a random moment and goes on from that copy. Two kinds of cut: nothing that was
//! not synchronised survives, or each page of it does or does not, by chance, as on a disk that reorders.
//!
//! See it fail: `cargo test -p muster-tests --test power_cut --features planted-bug-no-fsync`.
//! Repeat a run: `POWER_CUT_SEED=… cargo test -p muster-tests --test power_cut`. More cuts: `POWER_CUTS=1000`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use muster_tests::disk::{Chance, Load, Setup, build_shim, copy_tree, serial_in};

const PAGE_BYTES: usize = 4096;

/// Acknowledgements seen before the plug is pulled, at most; the actual number is random.
const ACKS_BEFORE_CUT_MAX: u64 = 400;

#[test]
fn nothing_acknowledged_is_lost_when_only_synchronised_bytes_survive() {
    cut_power_again_and_again(Cut::Strict).unwrap();
}

#[test]
fn nothing_acknowledged_is_lost_when_unsynchronised_pages_survive_by_chance() {
    cut_power_again_and_again(Cut::Torn).unwrap();
}

#[test]
fn a_failing_fsync_ends_the_process_and_nothing_is_acknowledged_after_it() {
    fail_one_fsync_after_another().unwrap();
}

/// What is left of bytes that were written and not synchronised.
#[derive(Clone, Copy, PartialEq)]
enum Cut {
    /// Nothing.
    Strict,
    /// Each page by chance, and the file's length by chance.
    Torn,
}

fn cut_power_again_and_again(cut: Cut) -> Result<()> {
    let cuts = std::env::var("POWER_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(20);
    let mut chance = Chance::new();
    let home = tempfile::tempdir()?;
    let shim = build_shim(home.path())?;
    let mut disk = home.path().join("disk-0");
    fs::create_dir(&disk)?;
    let mut acknowledged = BTreeSet::new();
    for round in 1..=cuts {
        let shadow = home.path().join(format!("shadow-{round}"));
        copy_tree(&disk, &shadow)?;
        let mut load = start(&shim, &disk, &shadow, None)?;
        let there = load.read_until_ready().with_context(|| format!("after cut {}", round - 1))?;
        let lost: Vec<_> = acknowledged.difference(&there).collect();
        ensure!(
            lost.is_empty(),
            "{} of {} acknowledged writes are lost after cut {}: {lost:?}",
            lost.len(),
            acknowledged.len(),
            round - 1
        );
        acknowledged.extend(load.run_for(1 + chance.below(ACKS_BEFORE_CUT_MAX))?);
        let next = home.path().join(format!("disk-{round}"));
        match cut {
            Cut::Strict => fs::rename(&shadow, &next)?,
            Cut::Torn => tear(&disk, &shadow, &next, &mut chance)?,
        }
        fs::remove_dir_all(&disk)?;
        disk = next;
    }
    let shadow = home.path().join("shadow");
    fs::create_dir(&shadow)?;
    let there = start(&shim, &disk, &shadow, None)?.read_until_ready().context("after the last cut")?;
    let lost: Vec<_> = acknowledged.difference(&there).collect();
    ensure!(lost.is_empty(), "{} of {} acknowledged writes are lost: {lost:?}", lost.len(), acknowledged.len());
    ensure!(acknowledged.len() as u64 > cuts, "only {} acknowledgements: nothing was tried", acknowledged.len());
    println!("{cuts} power cuts, {} acknowledged writes, none lost", acknowledged.len());
    Ok(())
}

fn fail_one_fsync_after_another() -> Result<()> {
    let home = tempfile::tempdir()?;
    let shim = build_shim(home.path())?;
    for fails_at in [1, 2, 3, 5, 8, 13, 21, 34, 55, 89] {
        let (disk, shadow) =
            (home.path().join(format!("disk-{fails_at}")), home.path().join(format!("shadow-{fails_at}")));
        fs::create_dir(&disk)?;
        fs::create_dir(&shadow)?;
        let mut load = start(&shim, &disk, &shadow, Some(fails_at))?;
        let mut acknowledged = BTreeSet::new();
        while let Some(line) = load.next_line()? {
            acknowledged.extend(serial_in(&line, "ack")?);
        }
        let status = load.wait()?;
        ensure!(!status.success(), "fsync {fails_at} failed and the process went on to a good end");
        drop(load);
        let again = home.path().join("again");
        fs::create_dir(&again)?;
        let there = start(&shim, &shadow, &again, None)?.read_until_ready();
        let there = there.with_context(|| format!("after fsync {fails_at} failed"))?;
        ensure!(acknowledged.is_subset(&there), "fsync {fails_at} failed and something acknowledged is lost");
        fs::remove_dir_all(again)?;
    }
    Ok(())
}

fn start(shim: &Path, disk: &Path, shadow: &Path, fail_fsync: Option<u64>) -> Result<Load> {
    let program = Path::new(env!("CARGO_BIN_EXE_storage_load"));
    Load::start(&Setup { program, disk, shadow: Some((shim, shadow)), fail_fsync })
}

/// Makes the disk that a cut leaves when pages are written back in any order: of what lies in `written` but not in `synced`,
/// each page survives or not.
fn tear(written: &Path, synced: &Path, torn: &Path, chance: &mut Chance) -> Result<()> {
    fs::create_dir_all(torn)?;
    let mut names: BTreeSet<_> = BTreeSet::new();
    for directory in [written, synced] {
        if directory.is_dir() {
            for entry in fs::read_dir(directory)? {
                names.insert(entry?.file_name());
            }
        }
    }
    for name in names {
        let (new, old, target) = (written.join(&name), synced.join(&name), torn.join(&name));
        if new.is_dir() || old.is_dir() {
            tear(&new, &old, &target, chance)?;
        } else if let Some(bytes) = tear_file(read_if_there(&new)?, read_if_there(&old)?, chance) {
            fs::write(target, bytes)?;
        }
    }
    Ok(())
}

fn tear_file(new: Option<Vec<u8>>, old: Option<Vec<u8>>, chance: &mut Chance) -> Option<Vec<u8>> {
    let (new, mut bytes) = match (new, old) {
        (Some(new), Some(old)) => (new, old),
        // A name that was never made durable, or one whose removal was not.
        (Some(new), None) if chance.coin() => (new, Vec::new()),
        (None, old) if chance.coin() => return old,
        _ => return None,
    };
    if new.len() != bytes.len() && chance.coin() {
        bytes.resize(new.len(), 0);
    }
    for (page, fresh) in bytes.chunks_mut(PAGE_BYTES).zip(new.chunks(PAGE_BYTES)) {
        if page.len() == fresh.len() && chance.coin() {
            page.copy_from_slice(fresh);
        }
    }
    Some(bytes)
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}
