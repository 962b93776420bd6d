//! Runs programs in groups of their own, so that none of them outlives its limit, its call or the agent.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::host::{Call, Exit, LINE_BYTES_MAX, LINES_MAX, OnLine, Output};

/// The variable that marks the agent's programs and what they start.
pub(super) const TAG: &str = "MUSTER_AGENT_CALL";

/// How long a program may take to end by itself once it was asked to: kubeadm and kubectl hold no state that needs more.
const GRACE: Duration = Duration::from_secs(5);

/// Lines between the readers and the caller; a program that prints faster is slowed down by its pipe.
const LINES_WAITING: usize = 64;

struct Line {
    from_stdout: bool,
    text: String,
}

/// Runs `path` to its end.
pub(super) async fn run(
    path: &Path,
    arguments: &[String],
    tag: &str,
    mut call: Call,
    on_line: OnLine<'_>,
) -> io::Result<Output> {
    let mut child = Command::new(path)
        .args(arguments)
        .env(TAG, tag)
        // The agent's own affairs, a credential among them.
        .env_remove("MUSTER_AGENT_TOKEN")
        .env_remove("CREDENTIALS_DIRECTORY")
        .env_remove("NOTIFY_SOCKET")
        .stdin(if call.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let (lines, mut received) = mpsc::channel(LINES_WAITING);
    if let Some(stdout) = child.stdout.take() {
        tokio::spawn(read_lines(stdout, true, lines.clone()));
    }
    if let Some(stderr) = child.stderr.take() {
        tokio::spawn(read_lines(stderr, false, lines));
    }
    if let (Some(mut stdin), Some(content)) = (child.stdin.take(), call.stdin.take()) {
        tokio::spawn(async move {
            // A program that ends without reading is told by its exit code.
            drop(stdin.write_all(&content).await);
        });
    }
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let mut output = Output { exit: Exit::Code(None), stdout: Vec::new(), lines: Vec::new() };
    let deadline = Instant::now() + call.limit;
    let mut printing = true;
    output.exit = loop {
        tokio::select! {
            biased;
            () = call.stop.cancelled() => break Exit::Stopped,
            () = tokio::time::sleep_until(deadline) => break Exit::TimedOut,
            line = received.recv(), if printing => match line {
                Some(line) => keep(&mut output, line, on_line),
                None => printing = false,
            },
            // A daemon that it started may hold the pipes open for ever; what it printed itself is in them already.
            status = child.wait() => break Exit::Code(status?.code()),
        }
    };
    if !matches!(output.exit, Exit::Code(_)) {
        end_group(group, &mut child).await;
    }
    drain(&mut received, &mut output, on_line).await;
    Ok(output)
}

fn keep(output: &mut Output, line: Line, on_line: OnLine<'_>) {
    on_line(&line.text);
    if line.from_stdout && output.stdout.len() < LINES_MAX {
        output.stdout.push(line.text.clone());
    }
    if output.lines.len() >= LINES_MAX {
        output.lines.remove(0);
    }
    output.lines.push(line.text);
}

/// Takes the lines that were printed before the program ended.
async fn drain(received: &mut mpsc::Receiver<Line>, output: &mut Output, on_line: OnLine<'_>) {
    // Bounded in time for the sake of a daemon that goes on printing.
    let until = Instant::now() + Duration::from_secs(1);
    while let Ok(Some(line)) = tokio::time::timeout_at(until, received.recv()).await {
        keep(output, line, on_line);
    }
}

async fn read_lines(stream: impl AsyncRead + Unpin, from_stdout: bool, lines: mpsc::Sender<Line>) {
    let mut reader = BufReader::new(stream);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        match (&mut reader).take(limit).read_until(b'\n', &mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
        if lines.send(Line { from_stdout, text }).await.is_err() {
            return;
        }
    }
}

/// Ends a program and its group: asks, waits, then forces.
async fn end_group(group: Option<Pid>, child: &mut Child) {
    let Some(group) = group else { return };
    // An error means that the group is gone.
    if kill_process_group(group, Signal::TERM).is_err() {
        return;
    }
    let asked = Instant::now();
    // The child itself is reaped here; the rest of its group is not ours to wait for, only to signal.
    drop(timeout(GRACE, child.wait()).await);
    while asked.elapsed() < GRACE && kill_process_group(group, Signal::TERM).is_ok() {
        sleep(Duration::from_millis(20)).await;
    }
    let _gone = kill_process_group(group, Signal::KILL);
    drop(child.wait().await);
}

/// Ends every program named in `names` that carries `tag`. A call of an earlier life cannot be taken over: nobody reads its
/// output, so it would die at its next line; what became of it is found out by probing afterwards. Other programs with the
/// tag are daemons that kubeadm started (the kubelet, where the machine has no systemd) and are left alone.
pub(super) async fn end_tagged(tag: &str, names: &[&str]) {
    let wanted = format!("{TAG}={tag}");
    let asked = Instant::now();
    loop {
        let orphans = tagged(&wanted, names);
        if orphans.is_empty() {
            return;
        }
        let signal = if asked.elapsed() < GRACE { Signal::TERM } else { Signal::KILL };
        for pid in orphans {
            tracing::warn!(
                pid = pid.as_raw_nonzero().get(),
                "ending a call that an earlier life of this agent left running"
            );
            let _gone = kill_process(pid, signal);
        }
        if asked.elapsed() > GRACE * 4 {
            tracing::error!("a call of an earlier life cannot be ended; going on");
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Processes with one of these names and this variable.
pub(super) fn tagged(wanted: &str, names: &[&str]) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            // Empty for kernel threads and zombies, unreadable for other users' programs.
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            names.contains(&name.trim_end())
                && fs::read(format!("/proc/{pid}/environ"))
                    .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|pair| pair == wanted.as_bytes()))
        })
        .filter_map(Pid::from_raw)
        .collect()
}
