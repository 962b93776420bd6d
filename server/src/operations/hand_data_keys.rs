//! Gives a server that is to vote the data keys of all epochs, each sealed to the key that an operator approved.

use std::collections::BTreeMap;

use anyhow::Context as _;
use muster_state::{Bytes, Refusal, command::HandDataKeys};
use muster_trust::sealing::SealingPublicKey;

use super::{OperationError, Unsealed};
use crate::seal::{DataKey, StoredDataKey, WrapContext, hand_over};

/// Seals the data keys to the server and puts them to the ledger, which takes them only for a server that is to vote.
///
/// # Errors
/// [`OperationError::NotAVoter`] on a server that has no data keys itself.
pub async fn run(server: &Unsealed, to: u64) -> Result<(), OperationError> {
    let keys = server.keys()?;
    let recipient = recipient(server, to)?;
    let mut sealed = BTreeMap::new();
    for epoch in keys.sealer.epochs() {
        let key = keys.sealer.data_key(epoch).context("the sealer has the epochs it names")?;
        sealed.insert(epoch, recipient.seal(server.fleet.as_str(), key)?);
    }
    server.ledger.propose(HandDataKeys { server: to, keys: sealed }).await?;
    Ok(())
}

/// A server to which data keys are sealed.
pub(super) struct Recipient {
    name: String,
    sealing_key: SealingPublicKey,
}

/// The server as the state knows it.
pub(super) fn recipient(server: &Unsealed, id: u64) -> Result<Recipient, OperationError> {
    let known = server.ledger.read(|state| state.servers.get(&id).map(|record| record.sealing_key.clone()));
    let Some(sealing_key) = known else { return Err(refused(Refusal::not_found("server", id))) };
    let sealing_key = SealingPublicKey::from_bytes(&sealing_key.0)
        .map_err(|_| OperationError::NotNow(format!("server {id} has not told its sealing key yet")))?;
    Ok(Recipient { name: id.to_string(), sealing_key })
}

fn refused(refusal: Refusal) -> OperationError {
    OperationError::Propose(refusal.into())
}

impl Recipient {
    /// The key in the form in which the state holds it for this server.
    pub(super) fn seal(&self, fleet: &str, key: &DataKey) -> Result<Bytes, OperationError> {
        let context = WrapContext { fleet, server: &self.name };
        let sealed = hand_over(key, &context, &self.sealing_key).map_err(anyhow::Error::from)?;
        Ok(Bytes(StoredDataKey::HandedOver(sealed).to_bytes()))
    }
}
