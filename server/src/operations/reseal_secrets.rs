//! Seals what older data keys seal with the present one. The plain text lives for one secret's time, in this process alone.

use muster_state::{
    Digest, SecretName, State,
    command::{ResealSecrets, Resealed},
    limits,
    record::SealedSecret,
};
use sha2::{Digest as _, Sha256};

use super::{OperationError, Unsealed, vault::Secret};

/// Goes on until nothing is sealed with an older data key. What changes meanwhile is left as it is, and looked at again.
///
/// # Errors
/// [`OperationError::NotAVoter`] on a server without data keys, [`OperationError::NotNow`] on one that has not opened the present one.
pub async fn run(server: &Unsealed) -> Result<(), OperationError> {
    loop {
        let (epoch, old) =
            server.ledger.read(|state| (state.fleet.as_ref().map_or(0, |fleet| fleet.epoch), old(state)));
        if old.is_empty() {
            return Ok(());
        }
        let keys = server.keys()?;
        if keys.sealer.epoch() != epoch {
            return Err(OperationError::NotNow(format!("data key {epoch} is not open on this server yet")));
        }
        let mut secrets = Vec::with_capacity(old.len());
        for (name, present) in old {
            let plain = Secret::from(&name).open(&keys.sealer, &present)?;
            let secret = Secret::from(&name).seal(&keys.sealer, present.revision, &plain)?;
            let seen = Digest(Sha256::digest(&present.sealed.bytes.0).into());
            secrets.push(Resealed { name, seen, secret });
        }
        server.ledger.propose(ResealSecrets { secrets }).await?;
    }
}

/// Some that are sealed with an older data key.
fn old(state: &State) -> Vec<(SecretName, SealedSecret)> {
    let present = state.fleet.as_ref().map_or(0, |fleet| fleet.epoch);
    let old = state.secrets().filter(|(_, secret)| secret.sealed.epoch < present);
    old.take(limits::RESEALED_MAX).map(|(name, secret)| (name, secret.clone())).collect()
}
