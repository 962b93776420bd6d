//! Runs the plan, in each term in which this server leads: after every change of a server, and several times a second for what
//! Raft alone knows.

use std::time::Duration;

use muster_state::{Change, command::EndEpoch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    pace::Pace,
    plan::{Step, View, plan},
};
use crate::operations::{OperationError, Unsealed, hand_data_keys, reseal_secrets, start_epoch};

/// How often the group is looked at: who lags and who is silent changes no record.
const TICK: Duration = Duration::from_millis(250);
/// Pause after a step that failed: a change that is under way, a peer that does not answer.
const AFTER_FAILURE: Duration = Duration::from_secs(3);

/// Brings the group to what the state wants until shutdown. A learner gets its vote after it has kept up for `promote_after`.
pub async fn run(server: Unsealed, promote_after: Duration, shutdown: CancellationToken) {
    let leading = server.ledger.while_leading(|ledger| lead(Unsealed { ledger, ..server.clone() }, promote_after));
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = leading => {}
    }
}

async fn lead(server: Unsealed, promote_after: Duration) {
    let mut watch = server.ledger.watch();
    let (began, mut pace) = (Instant::now(), Pace::default());
    loop {
        let status = server.ledger.status();
        pace.observe(&status, began.elapsed());
        let kept_up = pace.kept_up_for(promote_after, began.elapsed());
        let has_keys = server.keyring.keys().is_some();
        let steps = server.ledger.read(|state| plan(View { state, status: &status, kept_up: &kept_up, has_keys }));
        let pause = if carry_out(&server, steps).await { TICK } else { AFTER_FAILURE };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = watch.until(|change| matches!(change, Change::Server(_))) => if changed.is_err() { return },
        }
    }
}

/// Whether all was done.
async fn carry_out(server: &Unsealed, steps: Vec<Step>) -> bool {
    for step in steps {
        tracing::info!(?step, "the group of servers changes");
        if let Err(error) = take(server, &step).await {
            tracing::warn!(?step, err = %format!("{error:#}"), "a change of the group was not made; it is planned anew");
            return false;
        }
    }
    true
}

async fn take(server: &Unsealed, step: &Step) -> Result<(), OperationError> {
    let ledger = &server.ledger;
    match step {
        Step::FinishJoint => ledger.finish_joint().await?,
        Step::HandOver { to } => ledger.hand_over_leadership(*to).await?,
        Step::AddLearner { server, address } => ledger.add_learner(*server, address).await?,
        Step::SetAddress { server, address } => ledger.set_address(*server, address).await?,
        Step::ChangeVoters(voters) => ledger.change_voters(voters.clone()).await?,
        Step::RemoveMember(server) => ledger.remove_member(*server).await?,
        Step::HandDataKeys(to) => hand_data_keys::run(server, *to).await?,
        Step::StartEpoch => drop(start_epoch::run(server, None).await?),
        Step::ResealSecrets => reseal_secrets::run(server).await?,
        Step::EndEpoch(epoch) => ledger.propose(EndEpoch { epoch: *epoch }).await?,
    }
    Ok(())
}
