//! The program `storage_load`: proposes serials through the real consensus, and says which are acknowledged.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use muster_server::storage::Engine;
use rustix::process::{Pid, Signal, kill_process};

use super::Variable;

/// How long one may live: one that hangs must fail its test, not hang it. Some take seconds on a busy machine.
const LIFE_MAX: Duration = Duration::from_secs(120);

/// A running `storage_load`; killed when dropped, and when it lives too long.
pub struct Load {
    child: Child,
    lines: BufReader<ChildStdout>,
    _stdin: ChildStdin,
    /// Dropped with it, which calls the watchdog off.
    _leash: Sender<()>,
}

/// What to start, and on which disk.
pub struct Setup<'a> {
    /// The `storage_load` program.
    pub program: &'a Path,
    /// Its data directory.
    pub disk: &'a Path,
    /// The engine that keeps its log; a log that another one wrote is converted first.
    pub engine: Engine,
    /// What the shim is told; nothing for a plain disk.
    pub variables: Vec<Variable>,
}

impl Load {
    /// Starts it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(setup: Setup<'_>) -> Result<Self> {
        let Setup { program, disk, engine, variables } = setup;
        let mut command = Command::new(program);
        command.arg(disk).arg(engine.name()).env("RUST_BACKTRACE", "0");
        command.envs(variables.into_iter().map(|(name, value)| (OsString::from(name), value)));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().context("no standard input")?;
        let lines = BufReader::new(child.stdout.take().context("no standard output")?);
        let (leash, let_go) = channel();
        let pid = Pid::from_child(&child);
        std::thread::spawn(move || {
            if let_go.recv_timeout(LIFE_MAX) == Err(RecvTimeoutError::Timeout) {
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        Ok(Self { child, lines, _stdin: stdin, _leash: leash })
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

    /// Lets it work until so many serials were acknowledged, and gives those.
    ///
    /// # Errors
    /// If it ended by itself.
    pub fn read_acks(&mut self, acks: u64) -> Result<BTreeSet<u64>> {
        let mut acknowledged = BTreeSet::new();
        while (acknowledged.len() as u64) < acks {
            let line = self.next_line()?.context("it ended by itself")?;
            acknowledged.extend(serial_in(&line, "ack")?);
        }
        Ok(acknowledged)
    }

    /// Kills it, and gives the serials that were acknowledged and not read yet.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn kill(mut self) -> Result<BTreeSet<u64>> {
        self.child.kill()?;
        let mut acknowledged = BTreeSet::new();
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
