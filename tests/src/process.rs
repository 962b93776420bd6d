//! Processes that are started, watched and killed. Each runs in a process group of its own, so that a kill reaches its
//! children too, and dies with the value that holds it.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::eventually;

/// Lines of a log that are worth showing when a test fails.
const TAIL_LINES: usize = 40;

/// What a command that has ended said.
#[derive(Clone, Debug)]
pub struct Output {
    /// Exit code; 128 and the signal's number if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A command with a clean environment: only what programs need to run at all, and `home` as the home directory.
pub(crate) fn command(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home);
    for name in ["PATH", "TMPDIR", "LD_LIBRARY_PATH", "LLVM_PROFILE_FILE", "RUST_BACKTRACE"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// Runs a command to its end, with `input` on its standard input.
pub(crate) fn run(mut command: Command, input: &str) -> Result<Output> {
    let program = command.get_program().to_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().with_context(|| format!("{} can't be started", program.display()))?;
    feed(&mut child, input)?;
    let output = child.wait_with_output()?;
    Ok(Output {
        code: code_of(output.status),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

fn feed(child: &mut Child, input: &str) -> Result<()> {
    let mut stdin = child.stdin.take().context("no standard input")?;
    match stdin.write_all(input.as_bytes()) {
        // It did not want to read.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

fn code_of(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// A process in the background whose words go to a log file. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    code: Option<i32>,
}

impl Process {
    /// Starts it with `input` on its standard input; standard output and error are appended to `log`.
    pub(crate) fn start(mut command: Command, input: &str, log: &Path) -> Result<Self> {
        let program = command.get_program().to_owned();
        let file = open_log(log)?;
        command.stdin(Stdio::piped()).stdout(file.try_clone()?).stderr(file).process_group(0);
        let mut child = command.spawn().with_context(|| format!("{} can't be started", program.display()))?;
        feed(&mut child, input)?;
        Ok(Self { child, log: log.to_owned(), code: None })
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its exit code, if it has ended.
    pub(crate) fn ended(&mut self) -> Result<Option<i32>> {
        if self.code.is_none() {
            self.code = self.child.try_wait()?.map(code_of);
        }
        Ok(self.code)
    }

    /// Waits for its end and gives its exit code.
    pub(crate) fn wait(&mut self, within: Duration) -> Result<i32> {
        let log = self.log.clone();
        eventually("the end of the process", within, || match self.ended() {
            Ok(Some(code)) => Ok(code),
            Ok(None) => Err(format!("it runs; its log ends with:\n{}", tail(&log))),
            Err(error) => Err(error.to_string()),
        })
    }

    /// SIGKILL, to it and its children. It is gone when this returns.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGKILL, without waiting for the end.
    pub(crate) fn strike(&self) -> Result<()> {
        Ok(kill_process_group(Pid::from_child(&self.child), Signal::KILL)?)
    }

    /// SIGTERM; see its end with [`Process::wait`].
    pub(crate) fn terminate(&mut self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Sends a signal to it and its children, if it has not ended.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        match kill_process_group(Pid::from_child(&self.child), signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {} ends with:\n{}", self.log.display(), tail(&self.log));
        }
        let _ = self.kill();
    }
}

fn open_log(path: &Path) -> Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.with_context(|| format!("{} can't be opened", path.display()))
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MOMENT, SOON};

    fn mk_shell(home: &Path) -> Command {
        command(Path::new("/bin/sh"), home)
    }

    #[test]
    fn a_command_gives_its_words_and_its_code() {
        let home = tempfile::tempdir().unwrap();
        let output = run(mk_shell(home.path()), "echo out; echo err >&2; exit 3").unwrap();
        assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (3, "out\n", "err\n"));
        assert_eq!(run(mk_shell(home.path()), "kill -KILL $$").unwrap().code, 128 + 9);
    }

    #[test]
    fn a_kill_reaches_the_children() {
        let home = tempfile::tempdir().unwrap();
        let (log, pid) = (home.path().join("log"), home.path().join("pid"));
        let script = format!("sleep 600 & echo $! > {0}.new && mv {0}.new {0}; wait", pid.display());
        let mut process = Process::start(mk_shell(home.path()), &script, &log).unwrap();
        let read = || std::fs::read_to_string(&pid).map_err(|error| error.to_string());
        let child = eventually("the child's pid", SOON, read).unwrap();
        process.kill().unwrap();
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        // Gone, or a zombie that nobody reaps.
        let gone = || if state().is_empty() || state().contains(") Z ") { Ok(()) } else { Err(state()) };
        eventually("the child's end", MOMENT, gone).unwrap();
    }
}
