//! The programs under test, built once per test process by the same cargo, in the same profile and target directory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, ensure};

/// Where the programs lie.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The server and command line.
    pub muster: PathBuf,
    /// The agent.
    pub agent: PathBuf,
}

static BUILT: OnceLock<Result<Binaries, String>> = OnceLock::new();

/// The programs, brought up to date first. Cargo's own lock on the target directory keeps test processes apart; whoever
/// comes second finds everything fresh.
///
/// # Errors
/// If they do not build.
pub fn binaries() -> Result<&'static Binaries> {
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.as_ref().map_err(|error| anyhow!("{error}"))
}

fn build() -> Result<Binaries> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--workspace", "--bins", "--message-format=json-render-diagnostics", "--profile"]);
    command.arg(profile()?).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    if cfg!(feature = "planted-bug-no-seal") {
        command.args(["--features", "muster-server/planted-bug-no-seal"]);
    }
    let output = command.output().context("cargo can't be run")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the programs do not build:\n{words}");
    let messages = String::from_utf8_lossy(&output.stdout);
    let find = |name: &str| executable(&messages, name).with_context(|| format!("cargo built no {name}:\n{words}"));
    Ok(Binaries { muster: find("muster")?, agent: find("muster-agent")? })
}

/// The profile of this very test: its executable lies in `target/<directory of the profile>/deps`.
fn profile() -> Result<String> {
    let exe = std::env::current_exe()?;
    let directories = exe.ancestors().skip(1).filter_map(Path::file_name).map(|name| name.to_string_lossy());
    let directory = directories.into_iter().find(|name| name != "deps").context("no target directory")?;
    Ok(if directory == "debug" { "dev".to_owned() } else { directory.into_owned() })
}

fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_it = message["target"]["name"] == name && message["target"]["kind"][0] == "bin";
        message["executable"].as_str().filter(|_| is_it).map(PathBuf::from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_program_is_read_from_cargos_own_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"muster","kind":["lib"]},"executable":null}"#,
            "\nnot json\n",
            r#"{"reason":"compiler-artifact","target":{"name":"muster","kind":["bin"]},"executable":"/t/debug/muster"}"#,
        );
        assert_eq!(executable(messages, "muster"), Some(PathBuf::from("/t/debug/muster")));
        assert_eq!(executable(messages, "muster-agent"), None);
    }
}
