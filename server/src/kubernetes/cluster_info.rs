//! Whether everybody may read `kube-public/cluster-info`: looked at as everybody would, and closed where the cluster file says so.

use std::{convert::Infallible, time::Duration};

use http::Method;
use kube::Client;
use muster_state::{
    Change, ClusterId, State,
    command::RecordLink,
    record::{Cluster, LinkCondition},
};

use super::{call::raw, trouble::Trouble};
use crate::{
    kubeadm::discovery::{CLUSTER_INFO, CLUSTER_INFO_BINDING, CLUSTER_INFO_NAMESPACE},
    operations::Unsealed,
};

/// Somebody may open it again: looked at this often.
const TICK: Duration = Duration::from_secs(600);
/// After the binding was deleted it is looked for so many times, so far apart, whether everybody still may: ten seconds in all. If so, another
/// binding opens it.
const LAGS: usize = 20;
const LAG: Duration = Duration::from_millis(500);

/// What everybody asks for.
fn object() -> String {
    format!("/api/v1/namespaces/{CLUSTER_INFO_NAMESPACE}/configmaps/{CLUSTER_INFO}")
}

/// What lets everybody.
fn binding() -> String {
    format!(
        "/apis/rbac.authorization.k8s.io/v1/namespaces/{CLUSTER_INFO_NAMESPACE}/rolebindings/{CLUSTER_INFO_BINDING}"
    )
}

/// Looks, closes and tells, until something goes wrong. `everybody` shows no certificate.
pub(super) async fn keep(
    client: &Client,
    everybody: &Client,
    server: &Unsealed,
    id: &ClusterId,
) -> Result<Infallible, Trouble> {
    loop {
        let mut public = is_public(everybody).await?;
        let closes = public && server.ledger.read(|state| is_to_be_closed(state, id));
        if closes {
            close(client).await?;
            public = is_still_public(everybody).await?;
        }
        tell(server, id, public).await?;
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            // What could not be closed, because another binding opens it as well, is not tried without end.
            asked = until_asked(server, id), if public && !closes => asked?,
        }
    }
}

fn is_to_be_closed(state: &State, id: &ClusterId) -> bool {
    state.clusters.get(id).is_some_and(|cluster| cluster.spec.cluster_info_closed)
}

async fn until_asked(server: &Unsealed, id: &ClusterId) -> Result<(), Trouble> {
    let mut watch = server.ledger.watch();
    while !server.ledger.read(|state| is_to_be_closed(state, id)) {
        let concerns = |change: &Change| matches!(change, Change::Cluster(changed) if changed == id);
        watch.until(concerns).await.map_err(|_| Trouble::Undecided("the server stops".into()))?;
    }
    Ok(())
}

async fn is_public(everybody: &Client) -> Result<bool, Trouble> {
    match raw(everybody, Method::GET, &object(), None).await {
        Ok(_) => Ok(true),
        Err(
            Trouble::Absent | Trouble::Down { condition: LinkCondition::Unauthorized | LinkCondition::Forbidden, .. },
        ) => Ok(false),
        Err(other) => Err(other),
    }
}

/// API servers hear of a binding's end by watching: a busy one is some time behind.
async fn is_still_public(everybody: &Client) -> Result<bool, Trouble> {
    for _ in 0..LAGS {
        if !is_public(everybody).await? {
            return Ok(false);
        }
        tokio::time::sleep(LAG).await;
    }
    is_public(everybody).await
}

async fn close(client: &Client) -> Result<(), Trouble> {
    match raw(client, Method::DELETE, &binding(), None).await {
        Ok(_) | Err(Trouble::Absent) => Ok(()),
        Err(other) => Err(other),
    }
}

async fn tell(server: &Unsealed, id: &ClusterId, public: bool) -> Result<(), Trouble> {
    let known = |cluster: &Cluster| cluster.link.as_ref().and_then(|link| link.cluster_info_public);
    if server.ledger.read(|state| state.clusters.get(id).and_then(known)) == Some(public) {
        return Ok(());
    }
    let (condition, message) = (LinkCondition::Connected, String::new());
    let verb = RecordLink { cluster: id.clone(), condition, message, cluster_info_public: Some(public) };
    Ok(server.ledger.propose(verb).await?)
}
