//! The command line. Everything that it decides is in [`sources`]; the rest prints.

mod commands;
mod environment;
mod sources;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::error::Error;

pub use sources::{SettingsError, Surroundings};

/// Brings this machine into a Kubernetes cluster, as its fleet says.
#[derive(Debug, Parser)]
#[command(name = "muster-agent", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// More words: -v for what kubeadm prints, -vv for everything.
    #[arg(short, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    /// How log lines look on standard error.
    #[arg(long, value_enum, default_value = "text", global = true, env = "MUSTER_AGENT_LOG_FORMAT")]
    log_format: LogFormat,
}

const EXIT_CODES: &str = "Exit codes: 0 done (for a join: recorded by the server), 1 failed, 2 wrong usage, 3 a check failed or \
                          input is invalid, 5 no server reachable, 8 refused by the fleet.";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One object per line.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Join, and stay attached for later duties.
    Run(Box<RunArgs>),
    /// Print what this machine claims to be, and which values of its firmware were dropped as placeholders.
    Identify {
        #[command(flatten)]
        place: Place,
        #[arg(short, value_enum, default_value = "text")]
        output: OutputFormat,
    },
    /// Look this machine over for what kubeadm will need; change nothing.
    Preflight {
        #[command(flatten)]
        place: Place,
        #[arg(short, value_enum, default_value = "text")]
        output: OutputFormat,
    },
    /// Show the current instruction and the kubeadm configuration with its secrets masked; change nothing. A running agent of
    /// this machine loses its stream for a moment.
    Plan(Box<RunArgs>),
    /// Run `kubeadm reset -f` and forget keys, certificate and journal.
    Reset {
        #[command(flatten)]
        place: Place,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Print a completion script.
    Completion {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    /// Print the version.
    Version,
}

/// Where things lie.
#[derive(Debug, Clone, Args)]
struct Place {
    /// Keys and journal.
    #[arg(long, default_value = "/var/lib/muster-agent", env = "MUSTER_AGENT_STATE_DIR")]
    state_dir: PathBuf,
    /// Where the machine's own root file system lies.
    #[arg(long, default_value = "/", env = "MUSTER_AGENT_ROOT")]
    root: PathBuf,
    /// Where the firmware's fields lie.
    #[arg(long, default_value = "/sys/class/dmi/id", env = "MUSTER_AGENT_DMI_DIR")]
    dmi_dir: PathBuf,
}

// Environment, kernel command line, credentials and file are asked in `sources`, in that order, after these flags.
#[derive(Debug, Clone, Args)]
struct RunArgs {
    #[command(flatten)]
    place: Place,
    /// Address of a server's enrolment listener; may be given several times, or with commas.
    #[arg(long, value_delimiter = ',')]
    server: Vec<String>,
    /// SHA-256 of the fleet root's key, as `muster pin` prints it: sha256:<hex>.
    #[arg(long)]
    ca_hash: Option<String>,
    /// What to ask for: auto, worker or control-plane. The fleet decides.
    #[arg(long)]
    role: Option<String>,
    /// Node name to ask for. The fleet decides.
    #[arg(long)]
    node: Option<String>,
    /// For selectors: k=v,…
    #[arg(long)]
    labels: Option<String>,
    /// File with the enrolment token; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Not accepted: arguments are readable by everybody on the machine.
    #[arg(long, hide = true, value_name = "TOKEN")]
    token: Option<String>,
    /// End when the server has recorded that the node is Ready.
    #[arg(long)]
    once: bool,
    /// End after this many seconds without any server. Default: never; with --once 600.
    #[arg(long, value_name = "SECONDS")]
    give_up_after: Option<u64>,
    /// Everything for real except kubeadm itself.
    #[arg(long)]
    rehearse: bool,
    /// With --rehearse: be an invented machine of this name, so that several fit on one.
    #[arg(long, requires = "rehearse", value_name = "NAME")]
    rehearse_as: Option<String>,
}

/// The whole program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    set_up_log(cli.verbose, cli.log_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(1, &format!("cannot start: {error}")),
    };
    let code = runtime.block_on(Box::pin(dispatch(cli.command)));
    // A blocked read of standard input must not hold the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

async fn dispatch(command: Command) -> ExitCode {
    match command {
        Command::Run(args) => commands::run(*args).await,
        Command::Identify { place, output } => commands::identify(&place, output),
        Command::Preflight { place, output } => commands::preflight(&place, output).await,
        Command::Plan(args) => commands::plan(*args).await,
        Command::Reset { place, yes } => commands::reset(&place, yes).await,
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "muster-agent", &mut script);
            print(&String::from_utf8_lossy(&script));
            ExitCode::SUCCESS
        }
        Command::Version => {
            print(concat!("muster-agent ", env!("CARGO_PKG_VERSION"), "\n"));
            ExitCode::SUCCESS
        }
    }
}

fn set_up_log(verbose: u8, format: LogFormat) {
    let default = match verbose {
        0 => "info",
        1 => "info,muster_agent=debug",
        _ => "debug",
    };
    let filter = environment::Environment::of_process().log.and_then(|text| EnvFilter::try_new(text).ok());
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false)
        // In a journal or a file, colours would only be in the way of whoever searches it.
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(filter.unwrap_or_else(|| EnvFilter::new(default)));
    // An error means that there is a log already.
    drop(match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    });
}

/// Writes to standard output. Whoever reads it may have seen enough and gone, which is no failure of ours.
fn print(text: &str) {
    let _gone = std::io::stdout().write_all(text.as_bytes());
}

/// The last line says what happened and what to do.
fn end(code: u8, sentence: &str) -> ExitCode {
    let _gone = writeln!(std::io::stderr(), "muster-agent: {sentence}");
    ExitCode::from(code)
}

fn end_with(error: &Error) -> ExitCode {
    end(error.exit_code(), &error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_form_that_servers_print_is_accepted() {
        let line = "muster-agent run --server https://boot.prod:9443 --server 10.0.0.6:9443,10.0.0.7:9443 --ca-hash sha256:ab \
                    --token-file - --labels rack=r1 --once";
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let Command::Run(args) = cli.command else { panic!("not run") };
        assert_eq!(args.server, ["https://boot.prod:9443", "10.0.0.6:9443", "10.0.0.7:9443"]);
        assert!(args.once && args.token_file.is_some());
    }
}
