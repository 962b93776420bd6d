use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    Digest, Refusal, State, limits,
    record::SealedSecret,
    secrets::SecretName,
    state::{Change, Context},
};

/// Puts secrets that were sealed anew with the present data key in place of their old ciphertexts. What has changed since
/// it was opened stays as it is. Replies with how many were replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResealSecrets {
    /// At most [`limits::RESEALED_MAX`].
    pub secrets: Vec<Resealed>,
}

/// One secret, sealed anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resealed {
    /// Which.
    pub name: SecretName,
    /// SHA-256 of the ciphertext that was opened.
    pub seen: Digest,
    /// The same secret at the same revision, under the present data key.
    pub secret: SealedSecret,
}

impl ResealSecrets {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<u32, Refusal> {
        let Some(fleet) = &state.fleet else { return Err(Refusal::Fleet("the fleet is not founded yet".into())) };
        if self.secrets.len() > limits::RESEALED_MAX {
            return Err(Refusal::Full { what: "secrets of one command".into(), limit: limits::RESEALED_MAX as u64 });
        }
        let epoch = fleet.epoch;
        if let Some(late) = self.secrets.iter().find(|resealed| resealed.secret.sealed.epoch != epoch) {
            let problem = format!("data key {epoch} seals now, {} was sealed with {}", late.name, late.secret.sealed.epoch);
            return Err(Refusal::Epoch(problem));
        }
        let mut replaced = 0;
        for Resealed { name, seen, secret } in self.secrets {
            let present = state.secret_mut(&name).filter(|present| {
                present.revision == secret.revision && Digest(Sha256::digest(&present.sealed.bytes.0).into()) == seen
            });
            if let Some(present) = present {
                *present = secret;
                replaced += 1;
            }
        }
        if replaced > 0 {
            state.changes.push(Change::Other);
        }
        Ok(replaced)
    }
}
