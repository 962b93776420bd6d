//! Runs the plan, on the leader only: after every change, and every second for what time brings.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use muster_state::{
    NodeId, State,
    record::{Node, Purpose},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::plan::{Planned, View, plan};
use crate::{
    clock::now_ms,
    ledger::{Ledger, ProposeError},
    operations::{OperationError, Unsealed, mint_token},
};

/// Time passes without changes too: retries and expiries are looked for this often.
const TICK: Duration = Duration::from_secs(1);
/// A server that has not answered for so long may be gone, and its streams with it.
const SILENCE_MAX_MS: u64 = 5_000;
/// Changes come in bursts (a thousand hellos); one look covers those of this long.
const SETTLE: Duration = Duration::from_millis(5);
/// A look is at every node, and applying waits for it: with ten thousand it takes milliseconds. It may have this share of the
/// time, one part in so many.
const LOOKS_SHARE: u32 = 10;

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
    loop {
        let settle = SETTLE.max(conduct(&server).await * LOOKS_SHARE);
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            changed = watch.any() => if changed.is_err() { return },
        }
        tokio::time::sleep(settle).await;
    }
}

/// Carries out one plan; gives the time that it took to make it.
async fn conduct(server: &Unsealed) -> Duration {
    let live = live(&server.ledger);
    let began = Instant::now();
    let planned = server.ledger.read(|state| {
        let attached = attached(state, &live);
        plan(View { state, now_ms: now_ms(), attached: &attached })
    });
    let looked = began.elapsed();
    // Together, so that the batcher folds them into one entry; each verb checks for itself. They end with the term.
    let mut tasks = JoinSet::new();
    for planned in planned {
        let server = server.clone();
        tasks.spawn(async move { carry_out(&server, planned).await });
    }
    while tasks.join_next().await.is_some() {}
    looked
}

/// Servers whose word on their streams counts: this one, and those that answer it.
fn live(ledger: &Ledger) -> BTreeSet<u64> {
    let status = ledger.status();
    let answers = |silence_ms: Option<u64>| silence_ms.is_some_and(|silence| silence <= SILENCE_MAX_MS);
    let others = status.members.iter().filter(|(_, member)| answers(member.silence_ms)).map(|(id, _)| *id);
    others.chain([status.id]).collect()
}

/// Nodes with a stream to a server that lives.
fn attached(state: &State, live: &BTreeSet<u64>) -> BTreeSet<NodeId> {
    let has = |node: &&Node| node.attached.is_some_and(|at| live.contains(&at.server));
    state.nodes.values().filter(has).map(|node| node.id.clone()).collect()
}

async fn carry_out(server: &Unsealed, planned: Planned) {
    let ledger = &server.ledger;
    let result = match planned {
        Planned::Judge(verb) => ledger.propose(verb).await,
        Planned::Grant(verb) => ledger.propose(verb).await,
        Planned::DropLearner(verb) => ledger.propose(verb).await,
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
