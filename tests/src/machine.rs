//! A rehearsed machine: the real agent with a directory of its own and invented hardware.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use muster_agent::identity::Keyring;

use crate::process::{Process, command, tail};
use crate::{Door, SOON, binaries, eventually};

/// A machine. Dropping it kills its agent.
#[derive(Debug)]
pub struct Machine {
    home: PathBuf,
    name: String,
    hardware: String,
    preload: Option<(PathBuf, String)>,
    process: Option<Process>,
}

impl Machine {
    pub(crate) fn new(home: &Path, name: &str) -> Result<Self> {
        let home = home.join("machines").join(name);
        fs::create_dir_all(&home)?;
        Ok(Self { home, name: name.to_owned(), hardware: name.to_owned(), preload: None, process: None })
    }

    /// The same UUID, serial number and MAC address as another machine has: a clone, or the same box with a new disk.
    #[must_use]
    pub fn with_hardware_of(mut self, other: &Self) -> Self {
        self.hardware.clone_from(&other.hardware);
        self
    }

    /// From its next start on, a library is loaded into the agent, with this text in `SHIM`.
    pub fn preload(&mut self, library: &Path, setting: &str) {
        self.preload = Some((library.to_owned(), setting.to_owned()));
    }

    /// Its name in this scenario.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The agent's keys and journal.
    pub fn state_dir(&self) -> PathBuf {
        self.home.join("state")
    }

    /// Everything that the agent wrote.
    pub fn log_file(&self) -> PathBuf {
        self.home.join("agent.log")
    }

    /// The text of [`Machine::log_file`].
    pub fn log(&self) -> String {
        fs::read(self.log_file()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Pastes a printed line into this machine's shell, as an operator would, with `more` at its end. The shell reads it
    /// from standard input, so that nothing of it is in an argument list but what the line itself puts there.
    ///
    /// # Errors
    /// If no shell can be started.
    pub fn paste(&mut self, line: &str, more: &str) -> Result<()> {
        let mut shell = self.command(Path::new("/bin/sh"))?;
        let agents = binaries()?.agent.parent().context("the agent lies nowhere")?;
        let path = std::env::var("PATH").unwrap_or_default();
        shell.env("PATH", format!("{}:{path}", agents.display()));
        let script = format!("{line} --rehearse --rehearse-as {} {more}\n", self.hardware);
        self.start(shell, &script)
    }

    /// Runs `muster-agent run` with these arguments besides those of a rehearsal; a token goes in by standard input.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn run(&mut self, door: &Door, token: Option<&str>, more: &[&str]) -> Result<()> {
        let mut agent = self.command(&binaries()?.agent)?;
        agent.args(["run", "--server", &door.server, "--ca-hash", &door.pin]);
        agent.args(["--rehearse", "--rehearse-as", &self.hardware]);
        if token.is_some() {
            agent.args(["--token-file", "-"]);
        }
        agent.args(more);
        self.start(agent, token.unwrap_or_default())
    }

    fn command(&self, program: &Path) -> Result<Command> {
        let mut command = command(program, &self.home);
        command.env("MUSTER_AGENT_STATE_DIR", self.state_dir()).env("MUSTER_LOG", "info");
        if let Some((library, setting)) = &self.preload {
            command.env("LD_PRELOAD", library).env("SHIM", setting);
        }
        Ok(command)
    }

    fn start(&mut self, command: Command, input: &str) -> Result<()> {
        // The one before is dead or dies now: a machine has one agent.
        self.process = None;
        self.process = Some(Process::start(command, input, &self.log_file())?);
        Ok(())
    }

    /// SIGKILL, if it runs. True if it did.
    ///
    /// # Errors
    /// If it can't be killed.
    pub fn kill(&mut self) -> Result<bool> {
        let Some(process) = &mut self.process else { return Ok(false) };
        let ran = process.ended()?.is_none();
        process.kill()?;
        Ok(ran)
    }

    /// Its exit code, if its agent has ended.
    ///
    /// # Errors
    /// If it was not started.
    pub fn ended(&mut self) -> Result<Option<i32>> {
        self.process.as_mut().context("the agent was not started")?.ended()
    }

    /// Waits until its agent ends by itself and gives its exit code.
    ///
    /// # Errors
    /// If it does not end.
    pub fn wait_end(&mut self, within: Duration) -> Result<i32> {
        let process = self.process.as_mut().context("the agent was not started")?;
        process.wait(within).with_context(|| self.name.clone())
    }

    /// Waits until its log has a line with all of `words`, and gives that line.
    ///
    /// # Errors
    /// If there is none in time.
    pub fn wait_log(&self, within: Duration, words: &[&str]) -> Result<String> {
        eventually(&format!("{}: a log line with {words:?}", self.name), within, || {
            let log = self.log();
            let found = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
            found.map(str::to_owned).ok_or_else(|| tail(&self.log_file()))
        })
    }

    /// What it rehearsed: `<attempt> <step>` or `<attempt> <step> reset`, in order.
    pub fn rehearsed(&self) -> Vec<String> {
        let log = fs::read_to_string(self.state_dir().join("rehearsal.log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// The fingerprint of its first identity key, as its console shows it.
    ///
    /// # Errors
    /// If it has none.
    pub fn fingerprint(&self) -> Result<String> {
        Ok(Keyring::open(&self.state_dir())?.key(1)?.fingerprint().to_string())
    }

    /// The same for an agent that may just have been started.
    ///
    /// # Errors
    /// If it makes no key soon.
    pub fn fingerprint_soon(&self) -> Result<String> {
        let key = self.state_dir().join("identity-1.key");
        let made = || if key.exists() { Ok(()) } else { Err(tail(&self.log_file())) };
        eventually(&format!("{}: an identity key", self.name), SOON, made)?;
        self.fingerprint()
    }

    /// Loses its disk: keys, certificate and journal.
    ///
    /// # Errors
    /// If they can't be removed.
    pub fn lose_state(&mut self) -> Result<()> {
        self.kill()?;
        Ok(fs::remove_dir_all(self.state_dir())?)
    }
}
