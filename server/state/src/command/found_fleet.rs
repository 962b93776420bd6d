use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Bytes, FleetId, Refusal, State, record::{Fleet, SealedSecret}, state::{Change, Context}};

/// Founds the installation, once: its id, its roots of trust, its first data key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundFleet {
    /// Minted by the first server.
    pub id: FleetId,
    /// DER of the root.
    pub root: Bytes,
    /// DER of the intermediates by role.
    pub intermediates: BTreeMap<String, Bytes>,
    /// Sealed private keys by role, `root` included.
    pub keys: BTreeMap<String, SealedSecret>,
    /// The first data key, wrapped for each voter.
    pub wrapped: BTreeMap<u64, Bytes>,
}

impl FoundFleet {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        if state.fleet.is_some() {
            return Err(Refusal::Fleet("the fleet is founded already".into()));
        }
        let Self { id, root, intermediates, keys, wrapped } = self;
        state.event(false, "FleetFounded", format!("fleet {id} was founded"), None, None);
        let epochs = BTreeMap::from([(1, wrapped)]);
        state.fleet =
            Some(Fleet { id, founded_ms: context.now_ms, root, intermediates, keys, epochs, epoch: 1 });
        state.changes.push(Change::Other);
        Ok(())
    }
}
