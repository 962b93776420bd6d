//! Disks that fail, fill up or stall, on either engine.
//!
//! After a failed fsync the kernel takes the pages for clean, so that a second one that succeeds proves nothing: the process
//! must end at once, acknowledge nothing more, and never try again; and whatever it had acknowledged must be there afterwards. The
//! shim fails the synchronisation of a given number, counts, and lets the process come to rest first, so that whatever it says
//! afterwards was said in spite of the failure.
//!
//! See it fail: `cargo test -p muster-tests --test disk_fault --features planted-bug-fsync-retried`.
//! More of it: `DISK_FAULTS=500`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use muster_server::storage::Engine;
use muster_tests::disk::{Chance, Cut, Fault, Load, Mains, Setup, Variable, serial_in};

/// How many more fsyncs are failed until everything that is ever synchronised has failed once.
const MORE_MAX: u64 = 60;

/// How long a process may live after the failure. It takes milliseconds; the rest is for a busy machine.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Runs at a time: most of each is waiting.
const AT_A_TIME: usize = 4;

#[test]
fn each_failing_fsync_on_sled_ends_the_process_at_once_for_good_and_loses_nothing() {
    fail_at_each(Engine::Sled).unwrap();
}

#[test]
fn each_failing_fsync_on_redb_ends_the_process_at_once_for_good_and_loses_nothing() {
    fail_at_each(Engine::Redb).unwrap();
}

#[test]
fn a_disk_that_is_full_ends_the_process_and_with_space_again_nothing_is_lost() {
    for engine in Engine::ALL {
        fill_up(engine).unwrap();
    }
}

#[test]
fn a_real_file_system_that_is_full_ends_the_process_and_with_space_again_nothing_is_lost() {
    for engine in Engine::ALL {
        fill_up_for_real(engine).unwrap();
    }
}

#[test]
fn a_disk_that_stalls_delays_acknowledgements_and_nothing_else() {
    for engine in Engine::ALL {
        stall(engine).unwrap();
    }
}

fn start(disk: &Path, engine: Engine, variables: &[Variable]) -> Result<Load> {
    let program = Path::new(env!("CARGO_BIN_EXE_storage_load"));
    Load::start(Setup { program, disk, engine, variables: variables.to_vec() })
}

/// How a process that met a fault ended.
#[derive(Default)]
struct End {
    acknowledged: BTreeSet<u64>,
    /// "failed NUMBER PATH".
    failures: Vec<String>,
    /// What was said after the failure and should not have been.
    after: Vec<String>,
    took: Duration,
}

/// Reads until the process has ended by itself, which must be a bad end.
fn read_to_the_end(mut load: Load) -> Result<End> {
    let (mut end, mut failed) = (End::default(), None);
    while let Some(line) = load.next_line()? {
        match serial_in(&line, "ack")? {
            Some(serial) if failed.is_none() => end.acknowledged.extend([serial]),
            Some(_) => end.after.push(line),
            None if line.starts_with("failed ") && line.contains('/') => {
                failed.get_or_insert_with(Instant::now);
                end.failures.push(line);
            }
            None if line.starts_with("again ") => end.after.push(line),
            None => {}
        }
    }
    end.took = failed.map_or(Duration::ZERO, |at| at.elapsed());
    ensure!(!load.wait()?.success(), "it went on to a good end after {:?}", end.failures);
    Ok(end)
}

fn fail_at_each(engine: Engine) -> Result<()> {
    let last = std::env::var("DISK_FAULTS").ok().and_then(|last| last.parse().ok()).unwrap_or(100);
    let next = AtomicU64::new(1);
    let work = || -> Result<Vec<String>> {
        let (mut mains, mut failed) = (Mains::new()?, Vec::new());
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at > last {
                return Ok(failed);
            }
            failed.push(fail_at(at, engine, &mut mains).with_context(|| format!("{engine}: fsync {at} failed"))?);
        }
    };
    let mut failed: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(work)).collect();
        let failed: Result<Vec<_>> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
        failed.map(|failed| failed.concat())
    })?;
    // All that is ever synchronised must be among them; how soon the first snapshot comes depends on the machine.
    let parts = ["CURRENT.new", "WITNESS.new", "/log-000001.new", "/log-000001/", "/snapshots/snapshot-"];
    let missing = |failed: &[String]| parts.into_iter().find(|part| !failed.iter().any(|path| path.contains(part)));
    let (mut mains, mut at) = (Mains::new()?, last);
    while let Some(part) = missing(&failed) {
        at += 1;
        if at > last + MORE_MAX {
            ensure!(part.contains("snapshot"), "{part} never failed: {failed:?}");
            muster_tests::skipped(&format!(
                "on this machine no snapshot is among the first {} fsyncs",
                last + MORE_MAX
            ));
            break;
        }
        failed.push(fail_at(at, engine, &mut mains).with_context(|| format!("{engine}: fsync {at} failed"))?);
    }
    println!(
        "{engine}: each of the first {last} fsyncs failed once; none was tried again, no acknowledgement followed"
    );
    Ok(())
}

/// Gives the path of what failed.
fn fail_at(at: u64, engine: Engine, mains: &mut Mains) -> Result<String> {
    let home = tempfile::tempdir()?;
    mains.unplug_all()?;
    let variables = mains.plug_in(home.path())?;
    let failing = [variables.clone(), Fault::FailAt(at).variables()].concat();
    let end = read_to_the_end(start(home.path(), engine, &failing)?)?;
    let [failure] = end.failures.as_slice() else { anyhow::bail!("{} failed: {:?}", end.failures.len(), end.failures) };
    let path = failure.strip_prefix(&format!("failed {at} ")).with_context(|| format!("another failed: {failure}"))?;
    ensure!(end.after.is_empty(), "{path}: {} lines followed: {:?}", end.after.len(), end.after);
    ensure!(end.took < END_WITHIN, "{path}: the process lived on for {:?}", end.took);
    mains.restore(Cut::Strict, &mut Chance::new())?;
    let there = start(home.path(), engine, &variables)?.read_until_ready().with_context(|| path.to_owned())?;
    ensure!(end.acknowledged.is_subset(&there), "{path}: something acknowledged is lost");
    Ok(path.to_owned())
}

fn fill_up(engine: Engine) -> Result<()> {
    let mut chance = Chance::new();
    let mut mains = Mains::new()?;
    for round in 0..8 {
        let home = tempfile::tempdir()?;
        mains.unplug_all()?;
        let variables = mains.plug_in(home.path())?;
        let bytes = chance.below(6 << round << 15);
        let full = [variables.clone(), Fault::FullAt(bytes).variables()].concat();
        let end = read_to_the_end(start(home.path(), engine, &full)?)?;
        ensure!(end.failures.len() == 1, "{engine}: full after {bytes} bytes: {:?}", end.failures);
        ensure!(end.after.is_empty(), "{engine}: full after {bytes} bytes: {:?}", end.after);
        // With space again, and the power was not cut: what was written is there, synchronised or not.
        let there = start(home.path(), engine, &variables)?.read_until_ready();
        let there = there.with_context(|| format!("{engine}: full after {bytes} bytes"))?;
        ensure!(end.acknowledged.is_subset(&there), "{engine}: full after {bytes} bytes: something is lost");
    }
    Ok(())
}

/// A file system of its own, unmounted when dropped.
struct Small(tempfile::TempDir);

impl Small {
    /// None where this process may not mount.
    fn mount(megabytes: u32) -> Result<Option<Self>> {
        let home = tempfile::tempdir()?;
        let size = format!("size={megabytes}m");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(home.path());
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        Ok(mounted.then_some(Self(home)))
    }

    fn grow(&self, megabytes: u32) -> Result<()> {
        let grown =
            Command::new("mount").args(["-o", &format!("remount,size={megabytes}m")]).arg(self.0.path()).status()?;
        ensure!(grown.success(), "the file system can't be grown");
        Ok(())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

fn fill_up_for_real(engine: Engine) -> Result<()> {
    let Some(small) = Small::mount(8)? else {
        muster_tests::skipped("a real file system that is full: this process may not mount a tmpfs");
        return Ok(());
    };
    let disk = small.0.path().join("data");
    let end = read_to_the_end(start(&disk, engine, &[])?)?;
    ensure!(!end.acknowledged.is_empty(), "{engine}: it was full from the start");
    small.grow(64)?;
    let there = start(&disk, engine, &[])?.read_until_ready().with_context(|| format!("{engine}: with space again"))?;
    ensure!(end.acknowledged.is_subset(&there), "{engine}: something acknowledged is lost");
    println!("{engine}: full after {} acknowledgements, all there with space again", end.acknowledged.len());
    Ok(())
}

fn stall(engine: Engine) -> Result<()> {
    const BY: Duration = Duration::from_millis(500);
    let home = tempfile::tempdir()?;
    let mut mains = Mains::new()?;
    let variables = mains.plug_in(home.path())?;
    let switch = tempfile::tempdir()?;
    let only_while = switch.path().join("stalls");
    let stalling = Fault::Stall { by: BY, every: 1, only_while: Some(only_while.clone()) };
    let mut load = start(home.path(), engine, &[variables, stalling.variables()].concat())?;
    let mut acknowledged = load.read_acks(200)?;
    std::fs::write(only_while, [])?;
    // Those under way may still come without a stall, so the first few do not count.
    acknowledged.extend(load.read_acks(60)?);
    let started = Instant::now();
    acknowledged.extend(load.read_acks(60)?);
    ensure!(started.elapsed() >= BY, "60 acknowledgements within {:?} of a disk that stalls", started.elapsed());
    acknowledged.extend(load.kill()?);
    let there = start(home.path(), engine, &[])?.read_until_ready()?;
    ensure!(acknowledged.is_subset(&there), "{engine}: something acknowledged is lost");
    Ok(())
}
