use serde::{Deserialize, Serialize};

use crate::{Digest, Refusal, State, state::Context};

/// Lets everything that the fleet has, keys included, go to an operator, sealed to the key of one backup. Only after this
/// has committed does a voter put a backup together; it is the audit record too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseBackup {
    /// SHA-256 of the public key that the backup is sealed to.
    pub key: Digest,
    /// SPIFFE id of the operator.
    pub caller: String,
    /// SPIFFE id of the server that sends it.
    pub server: String,
}

impl ReleaseBackup {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<(), Refusal> {
        if state.fleet.is_none() {
            return Err(Refusal::Fleet("there is no fleet to back up yet".into()));
        }
        let text = format!("a backup of everything, sealed to key {}, goes to {} by {}", self.key, self.caller, self.server);
        state.event(true, "BackupReleased", text, None, None);
        Ok(())
    }
}
