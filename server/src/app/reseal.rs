//! After the seal key of this server was changed: what the state holds under the one before is put under the present one.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::operations::{Unsealed, replace_copies};

/// Between two attempts; without a leader there is nothing to hurry for.
const PAUSE: Duration = Duration::from_secs(2);

/// Until it is done, and says so. Nothing on a server whose settings name no key from before.
pub(super) async fn run(server: Unsealed, shutdown: CancellationToken) {
    if server.keyring.own().before.is_none() {
        return;
    }
    loop {
        match replace_copies::run(&server).await {
            Ok(true) => {
                tracing::info!(
                    "this server's seal key was changed: take seal.previous out of its settings, then destroy the key from before"
                );
                return;
            }
            Ok(false) => {}
            Err(err) => tracing::warn!(err = %format!("{err:#}"), "the data keys are not under the new seal key yet"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}
