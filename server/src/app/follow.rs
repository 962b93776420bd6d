//! What a running server takes over from the state without a restart: the fleet's keys when it becomes a voter or a new epoch
//! begins, the other servers' addresses, and its own removal.

use std::{collections::BTreeMap, time::Duration};

use anyhow::anyhow;
use muster_state::{Change, State, record::ServerStanding};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{certificate::Own, ends::Ends};
use crate::{identity::KnownServer, operations::Unsealed};

/// How often a removal is looked at without a change: the group changes after the state.
const TICK: Duration = Duration::from_secs(1);
/// A removed voter stays until the group goes on without it. Without a leader for so long, it has: nobody speaks to it.
const ALONE_AFTER: Duration = Duration::from_secs(10);

/// Runs until shutdown.
pub(super) async fn run(server: Unsealed, own: Own, id: u64, ends: Ends, shutdown: CancellationToken) {
    let mut watch = server.ledger.watch();
    let mut leaving = Leaving::default();
    loop {
        take_keys(&server, &own);
        remember(&server, &own, id);
        if leaving.is_over(&server, id) {
            ends.end(anyhow!(
                "this server was removed from the fleet. An id is never used again: to use this host, empty its data directory \
                 and bring it in as a new server with `muster server join`"
            ));
            return;
        }
        let concerns = |change: &Change| matches!(change, Change::Server(_) | Change::Other);
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(TICK) => {}
            changed = watch.until(concerns) => if changed.is_err() { return },
        }
    }
}

/// Opens what the state holds for this server, if that is more than what is open. With its first keys a server signs for itself.
pub(super) fn take_keys(server: &Unsealed, own: &Own) {
    let Some(fleet) = server.ledger.read(|state| state.fleet.clone()) else { return };
    let had = server.keyring.keys().is_some();
    match server.keyring.refresh(&fleet) {
        Ok(has) if has && !had => {
            tracing::info!(epoch = fleet.epoch, "this server holds the fleet's keys now");
            if let Some(Err(err)) = server.keyring.keys().map(|keys| own.reissue(&keys.pki)) {
                tracing::error!(err = %format!("{err:#}"), "this server's certificate could not be issued");
            }
        }
        Ok(has) if had && !has => tracing::warn!("this server holds the fleet's keys no longer"),
        Ok(_) => {}
        Err(err) => tracing::error!(err = %format!("{err:#}"), "the fleet's keys for this server can't be opened"),
    }
}

/// Other members, for the day on which this one has nothing but its disk.
fn remember(server: &Unsealed, own: &Own, id: u64) {
    let servers = server.ledger.read(|state| others(state, id));
    // A state that was not brought up to date yet knows less than the disk.
    if servers.is_empty() {
        return;
    }
    if let Err(err) = own.remember(servers) {
        tracing::warn!(err = %format!("{err:#}"), "the other servers' addresses were not written down");
    }
}

fn others(state: &State, id: u64) -> BTreeMap<u64, KnownServer> {
    let members = state.servers.values().filter(|server| server.id != id && server.standing.is_member());
    let known = members.map(|server| {
        let enrolment_urls = server.urls.enrolment.clone();
        (server.id, KnownServer { address: server.address.clone(), enrolment_urls })
    });
    known.collect()
}

/// How far this server's removal has come.
#[derive(Debug, Default)]
struct Leaving {
    without_leader: Option<Instant>,
}

impl Leaving {
    /// The state says that it is removed, and the group needs it no longer to go on.
    fn is_over(&mut self, server: &Unsealed, id: u64) -> bool {
        let standing = server.ledger.read(|state| state.servers.get(&id).map(|record| record.standing));
        if !matches!(standing, Some(ServerStanding::Removed { .. })) {
            return false;
        }
        let status = server.ledger.status();
        if status.leader.is_some() {
            self.without_leader = None;
        } else if self.without_leader.is_none() {
            self.without_leader = Some(Instant::now());
        }
        let alone = self.without_leader.is_some_and(|since| since.elapsed() >= ALONE_AFTER);
        alone || !status.members.get(&id).is_some_and(|member| member.voter)
    }
}
