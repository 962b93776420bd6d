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
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};

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
        let mut load = Load::start(&shim, &disk, &shadow, None)?;
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
    let there = Load::start(&shim, &disk, &shadow, None)?.read_until_ready().context("after the last cut")?;
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
        let mut load = Load::start(&shim, &disk, &shadow, Some(fails_at))?;
        let mut acknowledged = BTreeSet::new();
        while let Some(line) = load.next_line()? {
            acknowledged.extend(serial_in(&line, "ack")?);
        }
        let status = load.child.wait()?;
        ensure!(!status.success(), "fsync {fails_at} failed and the process went on to a good end");
        drop(load);
        let again = home.path().join("again");
        fs::create_dir(&again)?;
        let there = Load::start(&shim, &shadow, &again, None)?.read_until_ready();
        let there = there.with_context(|| format!("after fsync {fails_at} failed"))?;
        ensure!(acknowledged.is_subset(&there), "fsync {fails_at} failed and something acknowledged is lost");
        fs::remove_dir_all(again)?;
    }
    Ok(())
}

/// A running `storage_load`.
struct Load {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    _stdin: ChildStdin,
}

impl Load {
    fn start(shim: &Path, disk: &Path, shadow: &Path, fail_fsync: Option<u64>) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_storage_load"));
        command.arg(disk).env("LD_PRELOAD", shim).env("SHIM_ROOT", disk).env("SHIM_SHADOW", shadow);
        if let Some(fail_fsync) = fail_fsync {
            command.env("SHIM_FAIL_FSYNC", fail_fsync.to_string());
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().context("no standard input")?;
        let lines = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self { child, lines, _stdin: stdin })
    }

    fn next_line(&mut self) -> Result<Option<String>> {
        let mut line = String::new();
        let bytes = self.lines.read_line(&mut line)?;
        ensure!(bytes == 0 || !line.starts_with("twice"), "a serial was applied before it was proposed: {line}");
        Ok((bytes > 0).then(|| line.trim_end().to_owned()))
    }

    /// The serials that were there when it had opened.
    fn read_until_ready(&mut self) -> Result<BTreeSet<u64>> {
        let mut there = BTreeSet::new();
        loop {
            match self.next_line()?.as_deref() {
                Some("ready") => return Ok(there),
                Some(line) => there.extend(serial_in(line, "have")?),
                None => bail!("it did not open: {}", self.child.wait()?),
            }
        }
    }

    /// Lets it work until so many serials were acknowledged, kills it, and gives all that were.
    fn run_for(mut self, acks: u64) -> Result<BTreeSet<u64>> {
        let mut acknowledged = BTreeSet::new();
        while (acknowledged.len() as u64) < acks {
            let line = self.next_line()?.context("it ended by itself")?;
            acknowledged.extend(serial_in(&line, "ack")?);
        }
        self.child.kill()?;
        while let Some(line) = self.next_line()? {
            acknowledged.extend(serial_in(&line, "ack")?);
        }
        Ok(acknowledged)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serial_in(line: &str, word: &str) -> Result<Option<u64>> {
    match line.split_once(' ') {
        Some((first, serial)) if first == word => Ok(Some(serial.parse()?)),
        _ => Ok(None),
    }
}

fn build_shim(home: &Path) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/powerloss.c");
    let shim = home.join("powerloss.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&shim).arg(source).args(["-ldl", "-lpthread"]);
    ensure!(compiler.status().context("a C compiler is needed, as `cc`")?.success(), "the shim does not compile");
    Ok(shim)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_tree(&source, &target)?;
        } else {
            fs::copy(source, target)?;
        }
    }
    Ok(())
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

/// Repeatable chance (splitmix64).
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
        let seed = std::env::var("POWER_CUT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(u64::from(now));
        println!("POWER_CUT_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}
