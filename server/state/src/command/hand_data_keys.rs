use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Bytes, Refusal, State, limits,
    record::ServerStanding,
    state::{Change, Context},
};

/// Gives a server that is to vote the data keys of all epochs, each sealed to the key that an operator approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandDataKeys {
    /// The server.
    pub server: u64,
    /// Sealed data keys by epoch.
    pub keys: BTreeMap<u32, Bytes>,
}

impl HandDataKeys {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<(), Refusal> {
        let Self { server: id, keys } = self;
        match state.server(id)?.standing {
            ServerStanding::Removed { .. } => return Err(Refusal::ServerRemoved(id)),
            ServerStanding::Pending => return Err(Refusal::not_approved(id)),
            ServerStanding::Learner => {
                let problem = "it is a learner, and only voters hold data keys; promote it first".into();
                return Err(Refusal::ServerStanding { server: id, problem });
            }
            ServerStanding::Voter => {}
        }
        let Some(fleet) = &mut state.fleet else { return Err(Refusal::Fleet("the fleet is not founded yet".into())) };
        if !fleet.epochs.keys().eq(keys.keys()) {
            let problem = format!("the epochs are {:?} by now, the keys are of {:?}", fleet.epochs.keys(), keys.keys());
            return Err(Refusal::Epoch(problem));
        }
        keys.values().try_for_each(check_copy)?;
        let mut given = 0;
        for (copies, (_, sealed)) in fleet.epochs.values_mut().zip(keys) {
            // A copy that the server has, it can open: what another made of it would be no better.
            copies.entry(id).or_insert_with(|| {
                given += 1;
                sealed
            });
        }
        if given == 0 {
            return Ok(());
        }
        let epoch = fleet.epoch;
        if let Some(server) = state.servers.get_mut(&id) {
            server.knew_epoch = epoch;
        }
        state.server_event(false, "DataKeysHanded", format!("server {id} was given {given} data keys"), id);
        state.changes.push(Change::Server(id));
        Ok(())
    }
}

pub(super) fn check_copy(sealed: &Bytes) -> Result<(), Refusal> {
    if (1..=limits::DATA_KEY_COPY_MAX).contains(&sealed.0.len()) {
        return Ok(());
    }
    Err(Refusal::invalid("keys", format!("a sealed data key has 1 to {} bytes", limits::DATA_KEY_COPY_MAX)))
}
