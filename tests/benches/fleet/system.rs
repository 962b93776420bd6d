//! What the rows need of a system; nothing here knows which it is.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Bytes that one durable command carries.
pub(crate) const COMMAND_BYTES: usize = 512;
/// Bytes of a change that one watcher is told.
pub(crate) const CHANGE_BYTES: usize = 2048;

/// What Linux counts CPU in, on every architecture that it shows to programs.
const TICKS_PER_SECOND: u64 = 100;

/// A running system.
pub(crate) trait System: Send + Sync {
    /// A connection of clients that change something.
    type Writer: Writer;
    /// A client that waits for changes.
    type Watcher: Watcher;

    /// A new connection for writers; they are spread over the servers, the first one is to the leader.
    fn writer(&self, number: usize) -> impl Future<Output = Result<Self::Writer>> + Send;

    /// What a watcher needs to attach; made beforehand, so that it is not measured.
    fn attach(&self, number: usize) -> Result<impl Future<Output = Result<Self::Watcher>> + Send + 'static>;

    /// The servers' processes.
    fn processes(&self) -> Vec<u32>;
}

/// Changes things. Clones share one connection.
pub(crate) trait Writer: Clone + Send + Sync + 'static {
    /// Has one command of [`COMMAND_BYTES`] made durable.
    fn command(&self) -> impl Future<Output = Result<()>> + Send;

    /// Has [`CHANGE_BYTES`] told to a watcher; `round` tells one change from another.
    fn change(&self, watcher: usize, round: usize) -> impl Future<Output = Result<()>> + Send;

    /// Makes the next change possible, where that needs anything.
    fn restore(&self, watcher: usize) -> impl Future<Output = Result<()>> + Send;
}

/// Waits for changes.
pub(crate) trait Watcher: Send + 'static {
    /// Waits for the change of that round.
    fn changed(&mut self, round: usize) -> impl Future<Output = Result<()>> + Send;
}

/// The text of a change: its round, then filling.
pub(crate) fn change_text(round: usize) -> String {
    format!("{:x<width$}", round_mark(round), width = CHANGE_BYTES)
}

/// How the text of a round's change begins.
pub(crate) fn round_mark(round: usize) -> String {
    format!("round {round} ")
}

/// CPU that processes have used so far, in user and kernel mode.
///
/// # Errors
/// If one is gone.
pub(crate) fn cpu(processes: &[u32]) -> Result<Duration> {
    let mut ticks = 0;
    for process in processes {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).context("a server has ended")?;
        // After the name in brackets: state is the third field, utime and stime are the fourteenth and fifteenth.
        let fields: Vec<&str> = stat.rsplit_once(')').context("no stat")?.1.split_whitespace().collect();
        let field = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).context("no CPU time");
        ticks += field(11)? + field(12)?;
    }
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// Resident memory of processes, bytes.
///
/// # Errors
/// If one is gone.
pub(crate) fn memory(processes: &[u32]) -> Result<u64> {
    let mut bytes = 0;
    for process in processes {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).context("a server has ended")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        bytes += line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024;
    }
    Ok(bytes)
}

/// Waits until the servers have nothing more to do: what they do after an answer must not be measured as part of the next row.
///
/// # Errors
/// If a server is gone.
pub(crate) async fn quiet(processes: &[u32]) -> Result<()> {
    const LOOK: Duration = Duration::from_millis(500);
    const WITHIN: Duration = Duration::from_secs(60);
    let began = Instant::now();
    let mut before = cpu(processes)?;
    while began.elapsed() < WITHIN {
        tokio::time::sleep(LOOK).await;
        let now = cpu(processes)?;
        // A tenth of a core: heartbeats and keep-alives of thousands of idle connections.
        if now.saturating_sub(before) < LOOK / 10 {
            return Ok(());
        }
        before = now;
    }
    Ok(())
}
