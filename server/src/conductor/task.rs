//! Runs the plan, on the leader only: after every change, and every second for what time brings.

use std::time::Duration;

use muster_state::record::Purpose;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::plan::{Planned, View, plan};
use crate::{
    clock::now_ms,
    ledger::ProposeError,
    operations::{OperationError, Unsealed, mint_token},
};

/// Time passes without changes too: retries and expiries are looked for this often.
const TICK: Duration = Duration::from_secs(1);
/// Changes come in bursts (a thousand hellos); one look covers those of this long.
const SETTLE: Duration = Duration::from_millis(5);

/// Plans and proposes until shutdown, in each term in which this server leads.
pub async fn run(server: Unsealed, shutdown: CancellationToken) {
    let leading = server.ledger.while_leading(|ledger| conduct_term(Unsealed { ledger, ..server.clone() }));
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = leading => {}
    }
}

async fn conduct_term(server: Unsealed) {
    let mut watch = server.ledger.watch();
    let mut attached = server.sessions.changed();
    loop {
        conduct(&server).await;
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            changed = watch.any() => if changed.is_err() { return },
            _ = attached.changed() => {}
        }
        tokio::time::sleep(SETTLE).await;
    }
}

async fn conduct(server: &Unsealed) {
    let attached = server.within_reach();
    let planned = server.ledger.read(|state| plan(View { state, now_ms: now_ms(), attached: &attached }));
    // Together, so that the batcher folds them into one entry; each verb checks for itself. They end with the term.
    let mut tasks = JoinSet::new();
    for planned in planned {
        let server = server.clone();
        tasks.spawn(async move { carry_out(&server, planned).await });
    }
    while tasks.join_next().await.is_some() {}
}

async fn carry_out(server: &Unsealed, planned: Planned) {
    let ledger = &server.ledger;
    let result = match planned {
        Planned::Judge(verb) => ledger.propose(verb).await,
        Planned::Grant(verb) => ledger.propose(verb).await,
        Planned::Instruct(verb) => ledger.propose(verb).await.map(|_attempt| ()),
        Planned::Retry(verb) => ledger.propose(verb).await,
        Planned::Errand(verb) => ledger.propose(verb).await.map(|_number| ()),
        Planned::Sweep(verb) => ledger.propose(verb).await,
        Planned::Mint { cluster, node } => mint(server, cluster, node).await,
    };
    match result {
        Ok(()) => {}
        // The state had moved on; the next plan starts from there.
        Err(ProposeError::Refused(refusal)) => tracing::debug!(why = %refusal, "a planned step was refused"),
        // Another server leads, and plans.
        Err(err) if err.is_fenced() => {}
        Err(err) => tracing::warn!(err = %err, "a planned step could not be proposed"),
    }
}

async fn mint(
    server: &Unsealed,
    cluster: muster_state::ClusterId,
    node: muster_state::NodeId,
) -> Result<(), ProposeError> {
    match mint_token::run(server, &cluster, Purpose::Node(node), mint_token::NODE_TOKEN_TTL_MS).await {
        Ok(_) => Ok(()),
        Err(OperationError::Propose(err)) => Err(err),
        Err(other) => {
            tracing::error!(err = %format!("{other:#}"), "a bootstrap token could not be minted");
            Ok(())
        }
    }
}
