//! `muster`: parse, run, exit.

use std::process::ExitCode;

use clap::Parser as _;
use muster_server::{
    app,
    cli::{self, Runners, args::Cli},
    demo, foreground, joining, offline,
};

fn main() -> ExitCode {
    app::install_crypto_provider();
    let runners = Runners {
        serve: |args| Box::pin(foreground::run(args)),
        demo: |args| Box::pin(demo::run(args)),
        join: |args| Box::pin(joining::run(args)),
        storage: |command| Box::pin(offline::storage(command)),
        restore: |args, contents| Box::pin(offline::restore(args, contents)),
    };
    cli::run(Cli::parse(), runners)
}
