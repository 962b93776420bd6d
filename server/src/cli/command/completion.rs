//! `muster completion`.

use clap::CommandFactory as _;

use crate::cli::args::{Cli, CompletionArgs};
use crate::cli::console::Console;
use crate::cli::exit::{Exit, Failure};

pub(super) fn run(args: &CompletionArgs, console: &mut Console) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "muster", &mut script);
    console.data(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
