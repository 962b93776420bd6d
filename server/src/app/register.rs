//! Each start tells the fleet of itself: where this server is reached, its keys, its version, and how often its data directory
//! was opened. The founder comes into the list of servers so.

use std::time::Duration;

use anyhow::anyhow;
use muster_state::{Bytes, Refusal, command::RecordServer, record::ServerUrls};
use tokio_util::sync::CancellationToken;

use super::{certificate::Own, ends::Ends};
use crate::{
    config::Config,
    ledger::{Ledger, ProposeError},
    operations::urls::Urls,
};

/// Between two attempts; without a leader there is nothing to hurry for.
const PAUSE: Duration = Duration::from_secs(1);

/// What this start says of itself.
pub(super) fn start(config: &Config, own: &Own, server: u64, sealing_key: Bytes, generation: u64) -> RecordServer {
    let Urls { enrolment, nodes, operators } = Urls {
        enrolment: config.server.enrolment_urls(),
        nodes: config.server.node_urls(),
        operators: config.server.operator_urls(),
    };
    RecordServer {
        server,
        key: own.fingerprint(),
        sealing_key,
        address: config.server.peer_address(),
        urls: ServerUrls { enrolment, nodes, operators },
        version: env!("CARGO_PKG_VERSION").to_owned(),
        generation,
    }
}

/// Proposes it until it is taken, or refused for good, which ends the server.
pub(super) async fn run(ledger: Ledger, start: RecordServer, ends: Ends, shutdown: CancellationToken) {
    loop {
        let proposed = tokio::select! {
            () = shutdown.cancelled() => return,
            proposed = ledger.propose(start.clone()) => proposed,
        };
        match proposed {
            Ok(()) => return,
            Err(ProposeError::Refused(refusal)) if is_final(&refusal) => {
                ends.end(anyhow!("the fleet does not take this server: {refusal}"));
                return;
            }
            Err(err) => tracing::warn!(err = %err, "this start was not told to the fleet yet"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Trying again would not change it.
fn is_final(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::ServerRemoved(_)
            | Refusal::ServerStanding { .. }
            | Refusal::FingerprintDiffers { .. }
            | Refusal::ServerWentBack { .. }
            | Refusal::Invalid { .. }
    )
}
