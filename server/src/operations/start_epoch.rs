//! Starts a new data key epoch: after a server was removed, or by an operator's word. What was sealed before is sealed anew
//! elsewhere; from here on the new key is used.

use std::collections::BTreeMap;

use muster_state::{Request, command::StartEpoch};

use super::{
    OperationError, Unsealed,
    hand_data_keys::{Recipient, recipient},
};
use crate::seal::DataKey;

/// Makes a data key, seals it to every voter that has the present one, and puts it to the ledger. Gives the new epoch. If the
/// voters change meanwhile the ledger refuses it, and it may be tried again. With a `request`, a retry of it starts none.
///
/// # Errors
/// [`OperationError::NotAVoter`] on a server that has no data keys, [`OperationError::NotNow`] on one that has to leave: neither must
/// know the new one.
pub async fn run(server: &Unsealed, request: Option<Request>) -> Result<u32, OperationError> {
    server.keys()?;
    let (present, holders) =
        server.ledger.read(|state| (state.fleet.as_ref().map_or(0, |fleet| fleet.epoch), state.epoch_holders()));
    // Whoever makes a key knows it. If this server is removed after this look, the ledger refuses: the holders are others then.
    if !holders.contains(&server.ledger.status().id) {
        let why =
            "this server is not one of those that hold data keys from now on; another voter has to start the epoch";
        return Err(OperationError::NotNow(why.into()));
    }
    let epoch = present.checked_add(1).ok_or_else(|| OperationError::NotNow("there is no further epoch".into()))?;
    let key = DataKey::generate(epoch).map_err(anyhow::Error::from)?;
    let seal =
        |id: u64| recipient(server, id).and_then(|to: Recipient| Ok((id, to.seal(server.fleet.as_str(), &key)?)));
    let keys = holders.into_iter().map(seal).collect::<Result<BTreeMap<_, _>, _>>()?;
    let start = StartEpoch { epoch, keys };
    match request {
        Some(request) => server.ledger.propose_for(request, start).await?,
        None => server.ledger.propose(start).await?,
    }
    // After a retry it may be an earlier one than was just made.
    Ok(server.ledger.read(|state| state.fleet.as_ref().map_or(epoch, |fleet| fleet.epoch)))
}
