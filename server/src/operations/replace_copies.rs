//! Puts this server's copies of the data keys under its new seal key, so that the one before can be destroyed.

use anyhow::Context as _;
use muster_state::{Bytes, command::ReplaceDataKeyCopies};

use super::{OperationError, Unsealed};
use crate::seal::{StoredDataKey, WrapContext};

/// Replaces the copies, if one of them needs the seal key from before. `true`: none does any more.
///
/// # Errors
/// If the log does not take them. The epochs may have changed meanwhile; it may be tried again.
pub async fn run(server: &Unsealed) -> Result<bool, OperationError> {
    let own = server.keyring.own();
    let Some(fleet) = server.ledger.read(|state| state.fleet.clone()) else { return Ok(false) };
    let name = server.id.to_string();
    let context = WrapContext { fleet: fleet.id.as_str(), server: &name };
    let (mut keys, mut changed) = (std::collections::BTreeMap::new(), false);
    for (epoch, copies) in &fleet.epochs {
        // A server that does not vote has none.
        let Some(bytes) = copies.get(&server.id) else { return Ok(true) };
        let stored = StoredDataKey::from_bytes(&bytes.0).map_err(anyhow::Error::from)?;
        let copy = if stored.needs_the_key_before(own, &context, *epoch) {
            let key = stored.open(own, &context, *epoch).context("opening a data key with the seal key from before")?;
            changed = true;
            Bytes(StoredDataKey::Wrapped(key.wrap(&own.seal, &context).map_err(anyhow::Error::from)?).to_bytes())
        } else {
            bytes.clone()
        };
        keys.insert(*epoch, copy);
    }
    if changed {
        server.ledger.propose(ReplaceDataKeyCopies { server: server.id, keys }).await?;
    }
    Ok(true)
}
