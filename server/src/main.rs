//! `muster`: parse, run, exit.

use std::process::ExitCode;

use clap::Parser as _;
use muster_server::cli::{self, Runners, Task, args::Cli};

fn main() -> ExitCode {
    // The one cryptography of the process, before anything asks for a default. A second provider cannot have been
    // installed yet, and if it had, every connection of ours still names its own.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli::run(Cli::parse(), Runners { serve: |_| absent("serve"), demo: |_| absent("demo") })
}

fn absent(command: &'static str) -> Task {
    Box::pin(async move { Err(anyhow::anyhow!("this build has no `muster {command}`")) })
}
