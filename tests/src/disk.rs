//! A process on a disk that tests pull from under it: `storage_load`, the power-loss shim, repeatable chance.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};

/// A running `storage_load`; killed when dropped.
pub struct Load {
    child: Child,
    lines: BufReader<ChildStdout>,
    _stdin: ChildStdin,
}

/// What to start, and on which disk.
pub struct Setup<'a> {
    /// The `storage_load` program.
    pub program: &'a Path,
    /// Its data directory.
    pub disk: &'a Path,
    /// The power-loss shim and the directory that gets what was synchronised; none for a plain disk.
    pub shadow: Option<(&'a Path, &'a Path)>,
    /// Which fsync of a file fails, counted from 1.
    pub fail_fsync: Option<u64>,
}

impl Load {
    /// Starts it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(setup: &Setup<'_>) -> Result<Self> {
        let mut command = Command::new(setup.program);
        command.arg(setup.disk).env("RUST_BACKTRACE", "0");
        if let Some((shim, shadow)) = setup.shadow {
            command.env("LD_PRELOAD", shim).env("SHIM_ROOT", setup.disk).env("SHIM_SHADOW", shadow);
        }
        if let Some(fail_fsync) = setup.fail_fsync {
            command.env("SHIM_FAIL_FSYNC", fail_fsync.to_string());
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().context("no standard input")?;
        let lines = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self { child, lines, _stdin: stdin })
    }

    /// Its next line; none once it has ended.
    ///
    /// # Errors
    /// If a serial was applied twice.
    pub fn next_line(&mut self) -> Result<Option<String>> {
        let mut line = String::new();
        let bytes = self.lines.read_line(&mut line)?;
        ensure!(bytes == 0 || !line.starts_with("twice"), "a serial was applied before it was proposed: {line}");
        Ok((bytes > 0).then(|| line.trim_end().to_owned()))
    }

    /// The serials that were there when it had opened.
    ///
    /// # Errors
    /// If it ended instead.
    pub fn read_until_ready(&mut self) -> Result<BTreeSet<u64>> {
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
    ///
    /// # Errors
    /// If it ended by itself.
    pub fn run_for(mut self, acks: u64) -> Result<BTreeSet<u64>> {
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

    /// Waits for it to end.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait()?)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The serial in a line that begins with `word`.
///
/// # Errors
/// If it is no number.
pub fn serial_in(line: &str, word: &str) -> Result<Option<u64>> {
    match line.split_once(' ') {
        Some((first, serial)) if first == word => Ok(Some(serial.parse()?)),
        _ => Ok(None),
    }
}

/// Compiles the shim into `home`.
///
/// # Errors
/// Without a C compiler.
pub fn build_shim(home: &Path) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/powerloss.c");
    let shim = home.join("powerloss.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&shim).arg(source).args(["-ldl", "-lpthread"]);
    ensure!(compiler.status().context("a C compiler is needed, as `cc`")?.success(), "the shim does not compile");
    Ok(shim)
}

/// Copies a directory with all in it.
///
/// # Errors
/// Those of the operating system.
pub fn copy_tree(from: &Path, to: &Path) -> Result<()> {
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

/// Repeatable chance (splitmix64).
pub struct Chance(u64);

impl Chance {
    /// Seeded by `POWER_CUT_SEED`, else by the clock; says which seed it is.
    #[allow(clippy::new_without_default, reason = "a default would hide that it differs each time")]
    #[must_use]
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
        let seed = std::env::var("POWER_CUT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(u64::from(now));
        println!("POWER_CUT_SEED={seed}");
        Self(seed)
    }

    /// Any number.
    #[allow(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True half of the time.
    pub fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}
