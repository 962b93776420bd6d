//! One file per verb: parse what is left to parse, call, show.

pub(super) mod backup;
mod cluster;
mod compare;
mod completion;
mod describe;
mod enrolment;
mod etcd;
mod events;
mod get;
mod help;
mod join_command;
mod logs;
mod node;
mod operator;
mod pin;
mod seal;
mod server;
mod snippet;
mod status;
mod token;
mod version;
mod wait;

#[cfg(test)]
mod tests;

use crate::cli::args::{BackupArgs, BackupCommand, Command, Globals};
use crate::cli::client::{Session, renewal};
use crate::cli::console::Console;
use crate::cli::context;
use crate::cli::environment::Environment;
use crate::cli::exit::{Exit, Failure};

/// Runs any command but `serve`, `demo` and `storage`, which [`super::run`] gives to its runners.
///
/// # Errors
/// Why the command did not succeed.
pub(super) async fn run(
    command: Command,
    globals: &Globals,
    environment: &Environment,
    console: &mut Console,
) -> Result<Exit, Failure> {
    match command {
        Command::Pin(args) => pin::run(&args, console),
        Command::Backup(BackupArgs { command: Some(BackupCommand::Verify(args)), .. }) => {
            backup::verify(&args, console)
        }
        Command::Completion(args) => completion::run(&args, console),
        Command::Help(args) => help::run(&args, console),
        Command::Version(args) if args.client => version::client(console),
        command => {
            refuse_early(&command)?;
            let context = context::choose(globals, environment)?;
            let session = Session::of_context(&context, globals.timeout)?;
            console.detail(&format!("calling {}", session.server()));
            if let Command::Operator(command) = command {
                return operator::run(command, &context, &session, console).await;
            }
            let exit = call(command, &session, globals, console).await?;
            // After the command, which then waits for nobody because of it.
            renewal::when_due(&context, &session, console).await;
            Ok(exit)
        }
    }
}

/// What can be refused without a server is refused without a context, too.
fn refuse_early(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Backup(args) => backup::refuse_early(args),
        Command::Cluster(command) => cluster::refuse_early(command),
        Command::Token(command) => token::refuse_early(command),
        Command::Snippet(args) => snippet::refuse_early(args),
        _ => Ok(()),
    }
}

/// The commands that talk to a server.
async fn call(command: Command, session: &Session, globals: &Globals, console: &mut Console) -> Result<Exit, Failure> {
    let cluster = globals.cluster.as_deref();
    match command {
        Command::Backup(args) => backup::run(&args, session, console).await,
        Command::Cluster(command) => cluster::run(command, session, console).await,
        Command::JoinCommand(args) => join_command::run(&args, session, cluster, console).await,
        Command::Token(command) => token::run(command, session, cluster, console).await,
        Command::Get(args) => get::run(&args, session, cluster, console).await,
        Command::Describe(args) => describe::run(&args, session, cluster, console).await,
        Command::Status => status::run(session, console).await,
        Command::Wait(args) => wait::run(&args, session, globals, console).await,
        Command::Events(args) => events::run(&args, session, cluster, console).await,
        Command::Logs(args) => logs::run(&args, session, cluster, console).await,
        Command::Node(command) => node::run(command, session, cluster, console).await,
        Command::Server(command) => server::run(command, session, console).await,
        Command::Etcd(command) => etcd::run(command, session, cluster, console).await,
        Command::Seal(command) => seal::run(command, session, console).await,
        Command::Snippet(args) => snippet::run(&args, session, console).await,
        Command::Version(_) => version::both(session, console).await,
        Command::Serve(_)
        | Command::Demo(_)
        | Command::Storage(_)
        | Command::Operator(_)
        | Command::Restore(_)
        | Command::Pin(_)
        | Command::Completion(_)
        | Command::Help(_) => Err(Failure::new(Exit::Failed, "this command calls no server")),
    }
}
