use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::hand_data_keys::check_copy;
use crate::{Bytes, Refusal, State, state::{Change, Context}};

/// A server puts other copies of the data keys in place of its own, which it alone can open: sealed to its sealing key
/// instead of under a seal key that is to be changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplaceDataKeyCopies {
    /// The server.
    pub server: u64,
    /// Its new copies by epoch: of every epoch there is.
    pub keys: BTreeMap<u32, Bytes>,
}

impl ReplaceDataKeyCopies {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<(), Refusal> {
        let Self { server, keys } = self;
        let Some(fleet) = &mut state.fleet else { return Err(Refusal::Fleet("the fleet is not founded yet".into())) };
        if !fleet.epochs.keys().eq(keys.keys()) {
            let problem = format!("the epochs are {:?} by now, the keys are of {:?}", fleet.epochs.keys(), keys.keys());
            return Err(Refusal::Epoch(problem));
        }
        if fleet.epochs.values().any(|copies| !copies.contains_key(&server)) {
            return Err(Refusal::Epoch(format!("server {server} has no data keys whose copies could be replaced")));
        }
        keys.values().try_for_each(check_copy)?;
        for (copies, (_, copy)) in fleet.epochs.values_mut().zip(keys) {
            copies.insert(server, copy);
        }
        state.changes.push(Change::Server(server));
        Ok(())
    }
}
