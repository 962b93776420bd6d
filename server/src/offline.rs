//! Work on the disk of a server that does not run: `muster storage`, `muster restore`. The data directory's lock says whether
//! it does.

mod restore;

use crate::{
    cli::args::{ConvertArgs, StorageCommand},
    config::Config,
    storage::rewrite,
};

pub use restore::run as restore;

/// Runs one of the commands.
///
/// # Errors
/// A server that runs, no log, a log that is damaged, a disk that fails.
pub async fn storage(command: StorageCommand) -> anyhow::Result<()> {
    // Nothing else runs beside it: it may block.
    match command {
        StorageCommand::Convert(args) => convert(&args),
    }
}

fn convert(args: &ConvertArgs) -> anyhow::Result<()> {
    let config = Config::load(args.config.as_deref())?;
    crate::logging::start(&config.log)?;
    let (directory, to) = (&config.server.data_dir, config.storage.backend);
    let done = rewrite::convert(directory, to)?;
    let directory = directory.display();
    if done.from == to {
        println!("the log in {directory} is kept by {to} already ({} bytes)", done.live_bytes);
    } else {
        println!("the log in {directory} is now kept by {to}, no longer by {} ({} bytes)", done.from, done.live_bytes);
    }
    Ok(())
}
