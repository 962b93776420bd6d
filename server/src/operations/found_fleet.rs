//! The first start: a fleet's roots of trust and its first data key, all sealed before they enter the log.

use std::collections::BTreeMap;

use muster_state::{Bytes, FleetId, command::FoundFleet};
use muster_trust::Role;

use super::vault::Secret;
use crate::{
    pki::FleetPki,
    seal::{DataKey, SealKey, Sealer, StoredDataKey, WrapContext},
};

/// The epoch of the first data key.
const FIRST_EPOCH: u32 = 1;

/// Makes a fleet whose first server is `server_id` with this seal key; it is founded when the ledger takes it.
///
/// # Errors
/// If the system has no randomness.
pub fn make(seal_key: &SealKey, server_id: u64, now_ms: u64) -> anyhow::Result<FoundFleet> {
    let id = FleetId(uuid::Uuid::new_v4().to_string());
    let data_key = DataKey::generate(FIRST_EPOCH)?;
    let server = server_id.to_string();
    let wrapped = data_key.wrap(seal_key, &WrapContext { fleet: id.as_str(), server: &server })?;
    let sealer = Sealer::new(id.as_str(), vec![data_key])?;
    let made = FleetPki::generate(id.as_str(), now_ms)?;
    let mut keys =
        BTreeMap::from([("root".to_owned(), Secret::FleetKey("root").seal(&sealer, 1, made.root_key.expose())?)]);
    let mut intermediates = BTreeMap::new();
    for role in Role::ALL {
        let authority = made.pki.authority(role);
        let sealed = Secret::FleetKey(role.as_str()).seal(&sealer, 1, authority.key().expose())?;
        keys.insert(role.as_str().to_owned(), sealed);
        intermediates.insert(role.as_str().to_owned(), Bytes(authority.certificate().to_vec()));
    }
    let root = Bytes(made.pki.root().to_vec());
    let wrapped = BTreeMap::from([(server_id, Bytes(StoredDataKey::Wrapped(wrapped).to_bytes()))]);
    Ok(FoundFleet { id, root, intermediates, keys, wrapped })
}
