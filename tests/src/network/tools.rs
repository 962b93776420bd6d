//! The programs that set a network up.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::Faults;

/// Where a program is; those of root are often not on the path.
pub(super) fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// Why this machine can't have a network of ours.
pub(super) fn why_not() -> Option<String> {
    if let Some(missing) = ["ip", "nft", "tc"].into_iter().find(|name| tool(name).is_none()) {
        return Some(format!("`{missing}` is not installed"));
    }
    let probe = format!("muster-{}-probe", std::process::id());
    let tried = ip(&["netns", "add", &probe]).and_then(|()| {
        ip(&["-n", &probe, "link", "add", "probe", "type", "bridge"])?;
        nft(&probe, &Faults::default().loss(1).filter(0, &[0, 1].map(|last| Ipv4Addr::new(198, 18, 0, last))))
    });
    let _ = ip(&["netns", "delete", &probe]);
    tried.err().map(|error| format!("no network namespace of ours, or no packet filter in it: {error:#}"))
}

pub(super) fn ip(args: &[&str]) -> Result<()> {
    run("ip", args, "").map(drop)
}

pub(super) fn tc(args: &[&str]) -> Result<()> {
    run("tc", args, "").map(drop)
}

/// Loads rules in a namespace.
pub(super) fn nft(namespace: &str, rules: &str) -> Result<()> {
    let nft = tool("nft").context("no nft")?;
    run("ip", &["netns", "exec", namespace, &nft.to_string_lossy(), "-f", "-"], rules).map(drop)
}

/// Names of all network namespaces.
pub(super) fn namespaces() -> Result<Vec<String>> {
    let listed = run("ip", &["netns", "list"], "")?;
    Ok(listed.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

/// Whether a process with this id lives.
pub(super) fn is_process(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

fn run(program: &str, args: &[&str], input: &str) -> Result<String> {
    let path = tool(program).with_context(|| format!("no {program}"))?;
    let mut command = Command::new(path);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {args:?}: {}", words.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
