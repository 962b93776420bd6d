//! The private halves of this server: opened with its seal key, or made by a first start. Nothing is served before.

use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::{Progress, home::Start, observe::Stage};
use crate::{
    config::Config,
    identity::{Identity, IdentityError, Private, Standing, seal_key},
    seal::{OwnKeys, SealKey, UnwrapError},
    storage::directory::DataDirectory,
};

/// How often a sealed server looks for its key again.
const PAUSE: Duration = Duration::from_secs(2);

/// A server that can prove who it is and open what is meant for it.
#[derive(Debug)]
pub(super) struct Unlocked {
    pub(super) identity: Identity,
    pub(super) private: Private,
}

/// Waits for the seal key. A missing or wrong one leaves the server sealed: it says so, changes nothing, and looks again.
/// `None` if the server is stopped meanwhile.
///
/// # Errors
/// What looking again would not mend.
pub(super) async fn wait(
    config: &Config,
    mut start: Start,
    progress: &dyn Progress,
    stage: &Stage,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<Unlocked>> {
    let mut told = String::new();
    loop {
        let why = match unlock(config, start, progress)? {
            Ok(unlocked) => return Ok(Some(unlocked)),
            Err((again, why)) => {
                start = again;
                format!("{why:#}")
            }
        };
        stage.sealed(&why);
        if why != told {
            tracing::error!(why, "this server is sealed: it serves nobody until its seal key is there");
            progress.sealed(&why);
            told = why;
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// One look. The inner error gives the start back, to be tried again.
fn unlock(
    config: &Config,
    start: Start,
    progress: &dyn Progress,
) -> anyhow::Result<Result<Unlocked, (Start, anyhow::Error)>> {
    let key = match seal_key::find(config, start.is_first(), |path| progress.key_made(path)) {
        Ok(key) => key,
        Err(err) => return Ok(Err((start, err))),
    };
    let data_dir = &config.server.data_dir;
    let identity = match start {
        Start::Resume(identity) => *identity,
        Start::Found => {
            // Held while the file is made, so that two first starts do not make two.
            let _owned = DataDirectory::open(data_dir)?;
            match Identity::read(data_dir)? {
                Some(identity) => identity,
                None => {
                    let (identity, private) = Identity::create(data_dir, key, Standing::Founder)?;
                    return Ok(Ok(Unlocked { identity, private }));
                }
            }
        }
    };
    let mut identity = identity;
    match open(config, &mut identity, key) {
        Ok(private) => Ok(Ok(Unlocked { identity, private })),
        Err(err) => Ok(Err((Start::Resume(Box::new(identity)), err))),
    }
}

/// Opens the private halves. If that takes the seal key from before, they are kept under the present one from here on.
fn open(config: &Config, identity: &mut Identity, key: SealKey) -> anyhow::Result<Private> {
    let Some(before) = seal_key::before(config)? else { return Ok(identity.open(key)?) };
    match identity.open(key) {
        Ok(Private { identity: key, own: keys }) => {
            let OwnKeys { seal, sealing, .. } = keys;
            Ok(Private { identity: key, own: OwnKeys { seal, before: Some(before), sealing } })
        }
        Err(IdentityError::Seal(UnwrapError::WrongKey)) => {
            let old =
                identity.open(before).context("neither the seal key nor seal.previous opens this server's identity")?;
            // Held while the file is replaced: a server that runs on it would know nothing of it.
            let _owned = DataDirectory::open(&config.server.data_dir)?;
            let OwnKeys { seal: before, sealing, .. } = old.own;
            let own = OwnKeys { seal: seal_key::find(config, false, |_| ())?, before: Some(before), sealing };
            identity.keep_under(&old.identity, &own)?;
            tracing::info!("this server's private keys are under the new seal key");
            Ok(Private { identity: old.identity, own })
        }
        Err(err) => Err(err.into()),
    }
}
