//! Where this server's seal key comes from, by configuration.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::{
    config::{Config, SealKind},
    seal::{KeySource, KeySourceError, PassphraseSource, SealKey, Surroundings, create_key_file},
};

/// systemd's folder of credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// Name of the credential with the key.
const KEY: &str = "seal-key";
/// Name of the credential with a passphrase.
const PASSPHRASE: &str = "seal-passphrase";
/// Variable with a passphrase.
const PASSPHRASE_VARIABLE: &str = "MUSTER_SEAL_PASSPHRASE";

/// Loads the key. Only a `first` start may make a key file, and says so through `made`; what was sealed must be opened with
/// the key it was sealed with.
///
/// # Errors
/// If there is none, others can read it, or it is no key.
pub fn find(config: &Config, first: bool, made: impl FnOnce(&Path)) -> anyhow::Result<SealKey> {
    let credentials = || {
        let directory = variable(CREDENTIALS)
            .with_context(|| format!("${CREDENTIALS} is not set: is this a systemd unit with LoadCredential=?"));
        directory.map(PathBuf::from)
    };
    let source = match config.seal.kind {
        SealKind::File => KeySource::File(config.seal_path()),
        SealKind::Credential => match &config.seal.path {
            Some(path) => KeySource::File(path.clone()),
            None => KeySource::Credential { directory: credentials()?, name: KEY.into() },
        },
        SealKind::Passphrase => KeySource::Passphrase(match (&config.seal.path, variable(PASSPHRASE_VARIABLE)) {
            (Some(path), _) => PassphraseSource::File(path.clone()),
            (None, Some(_)) => PassphraseSource::Environment { variable: PASSPHRASE_VARIABLE.into() },
            (None, None) => PassphraseSource::File(credentials()?.join(PASSPHRASE)),
        }),
    };
    let mut surroundings = Surroundings { environment: &variable, input: &mut std::io::empty() };
    match source.load(&mut surroundings) {
        Err(KeySourceError::Unreadable { path, .. })
            if config.seal.kind == SealKind::File && first && !path.exists() =>
        {
            let parent = path.parent().context("the seal key's path has no folder")?;
            std::fs::create_dir_all(parent).with_context(|| format!("{} can't be made", parent.display()))?;
            let key = create_key_file(&path)?;
            made(&path);
            Ok(key)
        }
        loaded => Ok(loaded?),
    }
}

/// The key from before, while it is being changed.
///
/// # Errors
/// As [`find`], if the settings name one.
pub fn before(config: &Config) -> anyhow::Result<Option<SealKey>> {
    let Some(path) = &config.seal.previous else { return Ok(None) };
    let source = match config.seal.kind {
        SealKind::File | SealKind::Credential => KeySource::File(path.clone()),
        SealKind::Passphrase => KeySource::Passphrase(PassphraseSource::File(path.clone())),
    };
    let mut surroundings = Surroundings { environment: &variable, input: &mut std::io::empty() };
    let loaded = source.load(&mut surroundings);
    loaded.map(Some).with_context(|| format!("seal.previous: {}", path.display()))
}

#[expect(clippy::disallowed_methods, reason = "systemd tells a unit where its credentials are through the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
