//! The state with which a fleet goes on from a backup: under a new id, with a new data key, below the same root.

use std::collections::BTreeMap;

use anyhow::Context as _;
use muster_state::{Bytes, FleetId, Refounding, SecretName, State, record::SealedSecret};
use muster_trust::Role;
use rustls_pki_types::CertificateDer;

use super::vault::Secret;
use crate::{
    backup::Contents,
    pki::{Authority, FleetPki},
    seal::{DataKey, SealKey, Sealer, SecretBytes, StoredDataKey, WrapContext},
};

/// A fleet ready to go on.
#[derive(Debug)]
pub struct Restored {
    /// What its first server begins with.
    pub state: State,
    /// Its new id.
    pub fleet: FleetId,
    /// The id of the fleet that was backed up.
    pub old_fleet: String,
    /// What machines know as `muster.ca`; as before.
    pub pin: String,
}

/// Makes the new fleet of a backup's contents. `seal_key` and `server` are those of its first server.
///
/// # Errors
/// If a secret does not open with the backup's keys, or the root has run out.
pub fn make(contents: Contents, seal_key: &SealKey, server: u64, now_ms: u64) -> anyhow::Result<Restored> {
    let Contents { head, keys, state } = contents;
    let fleet = FleetId(uuid::Uuid::new_v4().to_string());
    // Above every epoch of the old fleet: a key of the one never passes for a key of the other.
    let epoch = keys.iter().map(DataKey::epoch).max().context("the backup has no data key")? + 1;
    let old = Sealer::new(&head.fleet, keys)?;
    let data_key = DataKey::generate(epoch)?;
    let name = server.to_string();
    let wrapped = data_key.wrap(seal_key, &WrapContext { fleet: fleet.as_str(), server: &name })?;
    let new = Sealer::new(fleet.as_str(), [data_key])?;
    let authorities = Authorities::make(&state, &old, &new, &fleet, now_ms)?;
    let refounding = Refounding {
        fleet: fleet.clone(),
        intermediates: authorities.intermediates,
        keys: authorities.keys,
        epoch,
        wrapped: BTreeMap::from([(server, Bytes(StoredDataKey::Wrapped(wrapped).to_bytes()))]),
        now_ms,
    };
    let reseal = |name: &SecretName, secret: &SealedSecret| {
        let plain = Secret::from(name).open(&old, secret)?;
        Secret::from(name).seal(&new, secret.revision, &plain)
    };
    let state = state.refound(refounding, reseal)?;
    Ok(Restored { state, fleet, old_fleet: head.fleet, pin: authorities.pin })
}

/// The root of old, and what is new below it.
struct Authorities {
    intermediates: BTreeMap<String, Bytes>,
    keys: BTreeMap<String, SealedSecret>,
    pin: String,
}

impl Authorities {
    fn make(state: &State, old: &Sealer, new: &Sealer, id: &FleetId, now_ms: u64) -> anyhow::Result<Self> {
        let fleet = state.fleet.as_ref().context("there is no fleet in it")?;
        let sealed = fleet.keys.get("root").context("it has no key of the fleet's root")?;
        let root_key = SecretBytes::from(Secret::FleetKey("root").open(old, sealed)?);
        let root = Authority::from_parts(CertificateDer::from(fleet.root.0.clone()), &root_key)?;
        let pki = FleetPki::below(&root, id.as_str(), now_ms)?;
        let root_key = Secret::FleetKey("root").seal(new, 1, root_key.expose())?;
        let mut keys = BTreeMap::from([("root".to_owned(), root_key)]);
        let mut intermediates = BTreeMap::new();
        for role in Role::ALL {
            let authority = pki.authority(role);
            let sealed = Secret::FleetKey(role.as_str()).seal(new, 1, authority.key().expose())?;
            keys.insert(role.as_str().to_owned(), sealed);
            intermediates.insert(role.as_str().to_owned(), Bytes(authority.certificate().to_vec()));
        }
        Ok(Self { intermediates, keys, pin: pki.anchors()?.pin()?.to_string() })
    }
}

#[cfg(test)]
pub(crate) mod tests;
