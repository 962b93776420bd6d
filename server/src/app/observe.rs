//! The main loop as health sees it: once a second, what is well, and the figures of this server.

use std::time::Duration;

use muster_state::record::Role as NodeRole;
use tokio::{sync::watch, time::interval};
use tokio_util::sync::CancellationToken;

use crate::{
    consensus::{Role, Status},
    ledger::Ledger,
    sessions::Sessions,
    web::{Check, HealthReporter, fleet::FleetSampler, metrics},
};

/// How often everything is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// Applied may trail committed by this much on a busy server; more means that its answers lie in the past.
const LAG_MAX: u64 = 1_000;

/// How far a start has come, as health and metrics see it.
#[derive(Clone)]
pub(super) struct Stage(watch::Sender<Seen>);

#[derive(Clone)]
struct Seen {
    /// Why the server is sealed, if it is.
    sealed: Option<String>,
    /// The replicated truth, once it is open.
    ledger: Option<Ledger>,
}

impl Stage {
    /// At the very beginning.
    pub(super) fn starting() -> Self {
        Self(watch::Sender::new(Seen { sealed: Some("looking for the seal key".to_owned()), ledger: None }))
    }

    /// The seal key is missing or wrong.
    pub(super) fn sealed(&self, why: &str) {
        self.0.send_modify(|seen| seen.sealed = Some(why.to_owned()));
    }

    /// The seal key was found.
    pub(super) fn unsealed(&self) {
        self.0.send_modify(|seen| seen.sealed = None);
    }

    /// The log is open.
    pub(super) fn opened(&self, ledger: &Ledger) {
        self.0.send_modify(|seen| seen.ledger = Some(ledger.clone()));
    }
}

/// Reports until shutdown.
pub(super) async fn run(stage: Stage, sessions: Sessions, reporter: HealthReporter, shutdown: CancellationToken) {
    let (mut sampler, mut before, mut tick) = (FleetSampler::default(), metrics::Raft::default(), interval(EVERY));
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = tick.tick() => {}
        }
        let Seen { sealed, ledger } = stage.0.borrow().clone();
        metrics::sealed(sealed.is_some());
        let status = ledger.as_ref().map(Ledger::status);
        reporter.report(checks(status.as_ref(), sealed));
        if let (Some(ledger), Some(status)) = (ledger, status) {
            let now = figures(&status);
            metrics::raft(&before, &now);
            before = now;
            ledger.read(|state| sampler.sample(state));
            connected(&ledger, &sessions);
        }
    }
}

fn checks(status: Option<&Status>, sealed: Option<String>) -> Vec<Check> {
    let Some(status) = status else {
        return vec![Check::new("seal", sealed), Check::new("log", Some("not open yet".to_owned()))];
    };
    let leader = status.leader.is_none().then(|| "no leader is known".to_owned());
    let lag = status.last_log_index.unwrap_or_default().saturating_sub(status.applied_index.unwrap_or_default());
    let behind = (lag > LAG_MAX).then(|| format!("the state is {lag} entries behind the log"));
    vec![Check::new("seal", sealed), Check::new("leader", leader), Check::new("applied", behind)]
}

fn figures(status: &Status) -> metrics::Raft {
    let lag = |(id, member): (&u64, &crate::consensus::status::Member)| Some((*id, member.lag_entries?));
    metrics::Raft {
        leader: status.leader,
        id: status.id,
        learner: status.role == Role::Learner,
        term: status.term,
        last_log_index: status.last_log_index.unwrap_or_default(),
        applied_index: status.applied_index.unwrap_or_default(),
        snapshot_index: status.snapshot_index.unwrap_or_default(),
        quorum_ack_age: status.quorum_ack_age_ms.map(Duration::from_millis),
        peer_lag_entries: status.members.iter().filter_map(lag).collect(),
        log_syncs: status.log_syncs,
        log_bytes: status.log_bytes,
    }
}

fn connected(ledger: &Ledger, sessions: &Sessions) {
    let attached = sessions.attached();
    let roles = ledger.read(|state| {
        let role = |id| state.nodes.get(id).and_then(|node| node.placement()).map(|place| place.role);
        attached.iter().map(role).collect::<Vec<_>>()
    });
    for role in [Some(NodeRole::ControlPlane), Some(NodeRole::Worker), None] {
        metrics::agents_connected(role, roles.iter().filter(|has| **has == role).count());
    }
}
