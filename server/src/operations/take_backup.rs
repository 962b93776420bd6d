//! Puts a backup together, after the log has decided that everything may go to that operator's key.

use anyhow::Context as _;
use muster_state::{Digest, Request, State, command::ReleaseBackup};
use muster_trust::sealing::SealingPublicKey;
use sha2::{Digest as _, Sha256};

use super::{OperationError, Unsealed};
use crate::backup::{Archive, Head};

/// All that was acknowledged before the call is in it, and nothing half: it is one moment of the state, at or after the
/// decision itself.
pub async fn run(server: &Unsealed, request: Request, public: &SealingPublicKey) -> Result<Archive, OperationError> {
    // Asked first: a server without keys decides nothing that it can't carry out.
    server.keys()?;
    let (key, caller) = (Digest(Sha256::digest(public.as_bytes()).into()), request.caller.clone());
    let release = ReleaseBackup { key, caller, server: server.spiffe.clone() };
    server.ledger.propose_for(request, release).await?;
    let index = server.ledger.status().applied_index.unwrap_or_default();
    let (server, public) = (server.clone(), *public);
    let sealed = tokio::task::spawn_blocking(move || seal(&server, &public, index));
    sealed.await.context("putting the backup together")?
}

fn seal(server: &Unsealed, public: &SealingPublicKey, index: u64) -> Result<Archive, OperationError> {
    let state = server.ledger.read(State::clone);
    let keys = server.keys()?;
    let fleet = state.fleet.as_ref().context("the fleet was not founded")?;
    let data_keys = fleet.epochs.keys().map(|epoch| {
        let closed = || format!("data key {epoch} is not open on this server yet; try again in a moment");
        keys.sealer.data_key(*epoch).ok_or_else(|| OperationError::NotNow(closed()))
    });
    let data_keys = data_keys.collect::<Result<Vec<_>, _>>()?;
    let head = Head {
        fleet: fleet.id.to_string(),
        made_ms: state.now_ms,
        index,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let state = state.to_snapshot().context("the state")?;
    Archive::new(public, &head, data_keys, &state).context("sealing the backup").map_err(OperationError::Internal)
}
