//! Puts this server's state into a snapshot now, for instance before a copy of its disk is made.

use std::time::Duration;

use super::{OperationError, Unsealed};

/// Megabytes are written and synchronised within a second; a busy disk takes longer.
const WITHIN: Duration = Duration::from_secs(20);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Makes a snapshot and gives the index of the last entry in it. Done at once if nothing was applied since the last.
///
/// # Errors
/// [`OperationError::Timeout`] if it is not there in time.
pub async fn run(server: &Unsealed) -> Result<u64, OperationError> {
    let wanted = server.ledger.status().applied_index.unwrap_or_default();
    let made = || server.ledger.status().snapshot_index.filter(|index| *index >= wanted);
    if let Some(index) = made() {
        return Ok(index);
    }
    server.ledger.trigger_snapshot().await?;
    let there = async {
        loop {
            if let Some(index) = made() {
                return index;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let waited = tokio::time::timeout(WITHIN, there).await;
    waited.map_err(|_| OperationError::Timeout("the snapshot is not there yet; its disk may be slow".into()))
}
