//! Commands that are no call to a server, or hardly: serve, demo, storage, pin, snippet, completion, version, help.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::Shell;

/// A server.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Settings of the server [default: /etc/muster/server.toml, if it is there]
    // The same id as the global `--config`, which it takes the place of here.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the settings in force, every default included, and end
    #[arg(long)]
    pub print_config: bool,
}

/// A fleet on loopback.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Servers; from three on, the one that leads is killed half-way
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=7), value_name = "N")]
    pub servers: u32,
    /// Rehearsed control planes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=9), value_name = "N")]
    pub control_planes: u32,
    /// Rehearsed workers
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(0..=1000), value_name = "N")]
    pub workers: u32,
    /// Keep its directory, and go on until interrupted
    #[arg(long)]
    pub keep: bool,
}

/// What can be done to the disk of a server that does not run.
#[derive(Debug, Clone, Subcommand)]
pub enum StorageCommand {
    /// Move the log to the engine that the settings name (storage.backend)
    Convert(ConvertArgs),
}

/// Which server's log.
#[derive(Debug, Clone, Args)]
pub struct ConvertArgs {
    /// Settings of the server [default: /etc/muster/server.toml, if it is there]
    // As for `serve`.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Pins of certificates.
#[derive(Debug, Args)]
pub struct PinArgs {
    /// PEM file with one or more certificates; - for standard input
    #[arg(value_name = "FILE.crt")]
    pub file: PathBuf,
}

/// What to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SnippetKind {
    /// Parameters for the kernel command line.
    KernelArgs,
    /// A cloud-config, for images that contain muster-agent.
    CloudInit,
}

/// Lines to paste.
#[derive(Debug, Args)]
pub struct SnippetArgs {
    /// What to print
    #[arg(value_enum)]
    pub kind: SnippetKind,
    /// File with an enrolment token to put in; - for standard input. Without one, machines wait for approval
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Refused: an argument can be read by everyone on this machine
    #[arg(long, hide = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Role that the machine asks for; it grants nothing
    #[arg(long, value_parser = ["worker", "control-plane"])]
    pub role: Option<String>,
}

/// A completion script.
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// bash, zsh or fish
    #[arg(value_parser = shell)]
    pub shell: Shell,
}

fn shell(text: &str) -> Result<Shell, String> {
    match text {
        "bash" => Ok(Shell::Bash),
        "zsh" => Ok(Shell::Zsh),
        "fish" => Ok(Shell::Fish),
        _ => Err("one of bash, zsh, fish".to_owned()),
    }
}

/// Versions.
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// Only this program's; call no server
    #[arg(long)]
    pub client: bool,
}

/// Help.
#[derive(Debug, Args)]
pub struct HelpArgs {
    /// A command, or exit-codes
    #[arg(value_name = "COMMAND")]
    pub topic: Vec<String>,
}
