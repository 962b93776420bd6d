//! Holds a link to each linked cluster, on the leader only and for its term only, as the conductor plans.

use std::{collections::BTreeMap, time::Duration};

use muster_state::{Change, ClusterId, State, record::Cluster};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{etcd, link};
use crate::operations::Unsealed;

/// Looked at this often, beside every change: a server may get its keys after it began to lead.
const TICK: Duration = Duration::from_secs(5);

/// Keeps links until shutdown, in each term in which this server leads.
pub async fn run(server: Unsealed, shutdown: CancellationToken) {
    let leading = server.ledger.while_leading(|ledger| keep_links(Unsealed { ledger, ..server.clone() }));
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = leading => {}
    }
}

/// Dropped with the term, and all links with it.
async fn keep_links(server: Unsealed) {
    let mut watch = server.ledger.watch();
    let (mut tasks, mut links) = (JoinSet::new(), BTreeMap::<ClusterId, AbortHandle>::new());
    loop {
        let wanted = if server.keys().is_ok() { server.ledger.read(linked) } else { Vec::new() };
        links.retain(|id, link| {
            let stays = wanted.contains(id) && !link.is_finished();
            if !stays {
                link.abort();
            }
            stays
        });
        for id in wanted {
            let server = server.clone();
            links.entry(id.clone()).or_insert_with(|| tasks.spawn(hold(server, id)));
        }
        while tasks.try_join_next().is_some() {}
        let concerns = |change: &Change| matches!(change, Change::Cluster(_));
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            changed = watch.until(concerns) => if changed.is_err() { return },
        }
    }
}

/// Both ends only with the term.
async fn hold(server: Unsealed, id: ClusterId) {
    tokio::join!(link::keep(server.clone(), id.clone()), etcd::keep(server, id));
}

/// Clusters that are linked and have an API server that knows the link's group, or the user of their kubeconfig: until the first
/// control plane of one that Muster makes has joined, and installed its rights, there is nothing to reach.
fn linked(state: &State) -> Vec<ClusterId> {
    let is_up = |cluster: &&Cluster| {
        cluster.link.is_some() || cluster.is_linked_from_outside() || state.custodian(&cluster.id).is_some()
    };
    let linked = state.clusters.values().filter(|cluster| cluster.spec.link.is_some() && cluster.initialised);
    linked.filter(is_up).map(|cluster| cluster.id.clone()).collect()
}
