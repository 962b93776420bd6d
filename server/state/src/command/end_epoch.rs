use serde::{Deserialize, Serialize};

use crate::{Refusal, State, state::{Change, Context}};

/// Forgets a data key that seals nothing any more: all copies of it are dropped, and what lies in old logs and snapshots
/// under it can't be opened by anybody who did not have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndEpoch {
    /// The epoch.
    pub epoch: u32,
}

impl EndEpoch {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<(), Refusal> {
        let Self { epoch } = self;
        let Some(fleet) = &state.fleet else { return Err(Refusal::Fleet("the fleet is not founded yet".into())) };
        if epoch >= fleet.epoch {
            return Err(Refusal::Epoch(format!("data key {} seals now, so {epoch} does not end", fleet.epoch)));
        }
        if !fleet.epochs.contains_key(&epoch) {
            return Ok(());
        }
        let left = state.secrets().filter(|(_, secret)| secret.sealed.epoch == epoch).count();
        if left > 0 {
            return Err(Refusal::Epoch(format!("{left} secrets are still sealed with data key {epoch}")));
        }
        let holders = state.fleet.as_mut().and_then(|fleet| fleet.epochs.remove(&epoch)).unwrap_or_default();
        // They forget it, too.
        state.changes.extend(holders.into_keys().map(Change::Server));
        state.event(false, "EpochEnded", format!("nothing is sealed with data key {epoch} any more"), None, None);
        state.changes.push(Change::Other);
        Ok(())
    }
}
