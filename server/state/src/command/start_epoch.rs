use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::hand_data_keys::check_copy;
use crate::{
    Bytes, Refusal, State, limits,
    state::{Change, Context},
};

/// Starts a new data key epoch: from now on secrets are sealed with its key, which only the voters of today get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartEpoch {
    /// The present epoch plus one.
    pub epoch: u32,
    /// The new data key, sealed to each voter that has the present one.
    pub keys: BTreeMap<u64, Bytes>,
}

impl StartEpoch {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<(), Refusal> {
        let Self { epoch, keys } = self;
        let holders = state.epoch_holders();
        let Some(fleet) = &state.fleet else { return Err(Refusal::Fleet("the fleet is not founded yet".into())) };
        if Some(epoch) != fleet.epoch.checked_add(1) {
            let problem = format!("epoch {} is in use, so {epoch} is not the next", fleet.epoch);
            return Err(Refusal::Epoch(problem));
        }
        // One voter less, and it could never open a secret again; one server more, and a stranger could.
        if keys.keys().copied().collect::<BTreeSet<_>>() != holders || keys.is_empty() {
            let problem = format!("the voters are {holders:?} by now, the new data key was made for {:?}", keys.keys());
            return Err(Refusal::Epoch(problem));
        }
        keys.values().try_for_each(check_copy)?;
        if fleet.epochs.len() >= limits::EPOCHS_MAX {
            return Err(Refusal::Full { what: "data key epochs".into(), limit: limits::EPOCHS_MAX as u64 });
        }
        for id in &holders {
            if let Some(server) = state.servers.get_mut(id) {
                server.knew_epoch = epoch;
            }
            state.changes.push(Change::Server(*id));
        }
        if let Some(fleet) = &mut state.fleet {
            fleet.epochs.insert(epoch, keys);
            fleet.epoch = epoch;
        }
        state.event(false, "EpochStarted", format!("secrets are sealed with data key {epoch} now"), None, None);
        state.changes.push(Change::Other);
        Ok(())
    }
}
