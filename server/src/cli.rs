//! The operator's command line: a client of `muster.admin.v1`, and the door to the server itself.
//!
//! In reading order: [`args`] is what can be typed; [`run`] picks the verb; `command` holds one file per verb; `client`
//! and [`context`] reach a server; `console` and `show` decide how answers look; [`exit`] says how it ended.
//! Data goes to standard output, words to standard error. There is no state here and no decision about a cluster.

pub mod args;
pub(crate) mod client;
mod cluster_file;
mod command;
mod console;
pub mod context;
mod environment;
pub mod exit;
pub(crate) mod muster_token;
mod names;
mod show;

use std::future::Future;
use std::io::Write as _;
use std::pin::Pin;
use std::process::ExitCode;

use crate::backup::Contents;
use crate::cli::args::{Cli, Command, DemoArgs, JoinServerArgs, RestoreArgs, ServeArgs, ServerCommand, StorageCommand};
use crate::cli::console::Console;
use crate::cli::environment::Environment;
use crate::cli::exit::{Exit, Failure};

/// What a runner returns; its error may be a [`Failure`], whose exit code is then kept.
pub type Task = Pin<Box<dyn Future<Output = anyhow::Result<()>>>>;

/// The commands that are no client: given by `main`, so that this module does not depend on the server's rooms.
#[derive(Debug, Clone, Copy)]
pub struct Runners {
    /// Runs a server until it is told to end.
    pub serve: fn(ServeArgs) -> Task,
    /// Runs a whole fleet on loopback until it is told to end.
    pub demo: fn(DemoArgs) -> Task,
    /// Asks a fleet to take this host in as a server.
    pub join: fn(JoinServerArgs) -> Task,
    /// Works on the disk of a server that does not run.
    pub storage: fn(StorageCommand) -> Task,
    /// Fills the data directory of a server that does not run with an opened backup.
    pub restore: fn(RestoreArgs, Contents) -> Task,
}

/// Runs one command line to its end.
pub fn run(cli: Cli, runners: Runners) -> ExitCode {
    let environment = Environment::of_process();
    let mut console = Console::of_process(&cli.globals, &environment);
    let outcome = match cli.command {
        Command::Serve(args) => block_on_all_cores((runners.serve)(args)),
        Command::Demo(args) => block_on_all_cores((runners.demo)(args)),
        Command::Server(ServerCommand::Join(args)) => block_on_all_cores((runners.join)(args)),
        Command::Storage(command) => block_on_all_cores((runners.storage)(command)),
        Command::Restore(args) => command::backup::contents(&args, &mut console)
            .and_then(|contents| block_on_all_cores((runners.restore)(args, contents))),
        command => block_on_one_core(command::run(command, &cli.globals, &environment, &mut console)),
    };
    let exit = match outcome {
        Ok(exit) => exit,
        Err(failure) => {
            console.failure(&failure);
            failure.exit
        }
    };
    // Nothing is left to tell whoever closed the pipe.
    let _ = std::io::stdout().flush();
    exit.into()
}

fn block_on_all_cores(task: Task) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(task)) {
        Ok(()) => Ok(Exit::Done),
        Err(error) => Err(match error.downcast::<Failure>() {
            Ok(failure) => failure,
            Err(error) => Failure::new(Exit::Failed, format!("{error:#}")),
        }),
    }
}

fn block_on_one_core(task: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot start: {error}")))?
        .block_on(task)
}
