//! `muster-agent`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    muster_agent::cli::main()
}
