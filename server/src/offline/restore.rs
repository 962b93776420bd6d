//! `muster restore`: an empty data directory is filled so that `muster serve` goes on with what was backed up.

use std::path::Path;

use anyhow::{Context as _, bail};
use muster_state::State;

use crate::{
    backup::Contents,
    cli::args::RestoreArgs,
    clock::now_ms,
    config::Config,
    consensus::{Consensus, Options, Peer},
    identity::{Identity, Standing, seal_key},
    operations::restore_fleet::{self, Restored},
    storage::directory::DataDirectory,
};

/// The number of a fleet's first server, whatever numbers the servers of the old fleet had.
const FOUNDER: u64 = 1;
/// What an empty file system holds anyway.
const LOST_AND_FOUND: &str = "lost+found";

/// Restores, and says what was done and what to do next.
///
/// # Errors
/// A data directory that holds something, a seal key that is not there, a backup whose secrets do not open.
pub async fn run(args: RestoreArgs, contents: Contents) -> anyhow::Result<()> {
    let mut config = Config::load(args.config.as_deref())?;
    if let Some(directory) = args.data_dir {
        config = config.with_data_dir(std::path::absolute(directory)?)?;
    }
    crate::logging::start(&config.log)?;
    let made_ms = contents.head.made_ms;
    let restored = fill(&config, contents).await?;
    let Restored { fleet, old_fleet, pin, .. } = restored;
    let age_h = now_ms().saturating_sub(made_ms) / 3_600_000;
    println!("restored into {}: fleet {fleet}, pin {pin}", config.server.data_dir.display());
    eprintln!(
        "It goes on from fleet {old_fleet} as it was {age_h} hours ago, under a new id and with the old pin. Live tokens, operators' \
         certificates and servers of the old fleet are void; each machine has to be approved anew.\n\
         Next: make sure that no server of the old fleet comes back, then: muster serve"
    );
    Ok(())
}

async fn fill(config: &Config, contents: Contents) -> anyhow::Result<Restored> {
    if config.server.id.is_some_and(|id| id.get() != FOUNDER) {
        bail!("server.id must be {FOUNDER}, or left out: the server that restores is the first of a new fleet");
    }
    let directory = &config.server.data_dir;
    check_empty(directory)?;
    let key = seal_key::find(config, true, |path| {
        tracing::warn!(path = %path.display(), "made a new seal key; keep a copy elsewhere: without it the data can't be opened");
    })?;
    let restored = restore_fleet::make(contents, &key, FOUNDER, now_ms())?;
    let options = Options { engine: config.storage.backend, ..Options::new(directory, FOUNDER) };
    let peer = Peer { address: config.server.peer_address() };
    Consensus::<State>::seed(options, peer, &restored.state).await?;
    // Last: without it no server starts on a directory that was filled half-way.
    let _owned = DataDirectory::open(directory)?;
    Identity::create(directory, key, Standing::Founder)?;
    Ok(restored)
}

fn check_empty(directory: &Path) -> anyhow::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| directory.display().to_string()),
    };
    for entry in entries {
        let name = entry.with_context(|| directory.display().to_string())?.file_name();
        if name != LOST_AND_FOUND {
            bail!(
                "{} is not empty (it has {:?}), and a restore never mixes with what is there: name an empty one with --data-dir",
                directory.display(),
                name
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
