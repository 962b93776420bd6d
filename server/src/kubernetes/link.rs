//! One link: connect, look, and go on until something goes wrong; say so; wait; again.

use std::{convert::Infallible, time::Duration};

use kube::Client;
use muster_state::{
    Change, ClusterId, State,
    command::RecordLink,
    record::{Cluster, LinkCondition, Node, Role},
};

use super::{
    call::answer,
    certificates, cluster_info, compare,
    follow::Listed,
    nodes,
    pace::Pace,
    requests, rights, tokens,
    transport::{self, Target},
    trouble::Trouble,
};
use crate::{
    kubeadm::endpoint::Endpoint,
    operations::{Unsealed, link_identity},
};

/// Who shows a certificate of an hour connects anew with a fresh one after this: two thirds of its life.
pub(super) const RENEW_AFTER: Duration = Duration::from_millis(crate::pki::LINK_LIFETIME_MS / 3 * 2);
/// How often the API server is asked whether it is there; a connection that is silently dead is noticed by this.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Addresses that are tried besides the endpoint.
const OTHERS_MAX: usize = 8;
/// Where API servers of control planes listen: kubeadm's default.
const API_PORT: u16 = 6443;

/// Keeps the link of one cluster for as long as it is polled.
pub(super) async fn keep(server: Unsealed, id: ClusterId) {
    let mut pace = Pace::new();
    loop {
        let Err(trouble) = Box::pin(session(&server, &id)).await;
        let wait = match trouble.clone() {
            Trouble::Renewal => continue,
            Trouble::Down { condition, message, wait } => {
                tracing::warn!(cluster = %id, err = %message, "the link to a cluster's API is down: {condition:?}");
                record(&server, &id, condition, message).await;
                wait
            }
            // Where there must be something, there is nothing, or it is other than it must be.
            Trouble::Absent | Trouble::Conflict | Trouble::Expired | Trouble::Rejected(_) => {
                record(&server, &id, LinkCondition::Failing, trouble.to_string()).await;
                None
            }
            Trouble::Undecided(why) => {
                tracing::info!(cluster = %id, err = %why, "the link to a cluster's API waits for the log");
                None
            }
        };
        pace.wait(wait).await;
    }
}

/// What is not recorded now is recorded by the next try.
async fn record(server: &Unsealed, id: &ClusterId, condition: LinkCondition, message: String) {
    if let Err(err) =
        server.ledger.propose(RecordLink { cluster: id.clone(), condition, message, cluster_info_public: None }).await
    {
        tracing::debug!(cluster = %id, err = %err, "the condition of a link was not recorded");
    }
}

async fn session(server: &Unsealed, id: &ClusterId) -> Result<Infallible, Trouble> {
    let cluster = server.ledger.read(|state| state.clusters.get(id).cloned()).ok_or(Trouble::Absent)?;
    cluster.spec.link.ok_or(Trouble::Absent)?;
    let (client, everybody) = connect(server, &cluster)?;
    if cluster.credentials.is_some() {
        rights::install(&client, &cluster).await?;
    }
    let approves = cluster.spec.csr_approval().is_musters();
    let makes_secrets = !cluster.spec.secrets_by_custodian();
    let (listed, kinds) = (Listed::default(), 1 + usize::from(approves));
    let work = async {
        tokio::try_join!(
            nodes::watch(client.clone(), &server.ledger, id, &listed),
            only_if(approves, requests::watch(client.clone(), &server.ledger, id, &listed)),
            only_if(makes_secrets, tokens::keep(client.clone(), server, id)),
            only_if(makes_secrets, certificates::keep(client.clone(), server, id)),
            only_if(makes_secrets, compare::keep(client.clone(), server, id)),
            heartbeat(&client),
            async {
                listed.wait(kinds).await;
                record(server, id, LinkCondition::Connected, String::new()).await;
                cluster_info::keep(&client, &everybody, server, id).await
            },
        )
        .map(|(never, ..)| never)
    };
    tokio::select! {
        outcome = work => outcome,
        () = tokio::time::sleep(RENEW_AFTER) => Err(Trouble::Renewal),
        () = replaced(server, id, &cluster) => Err(Trouble::Renewal),
    }
}

/// Until an operator has brought other credentials.
async fn replaced(server: &Unsealed, id: &ClusterId, cluster: &Cluster) {
    let mut watch = server.ledger.watch();
    let concerns = |change: &Change| matches!(change, Change::Cluster(_));
    let revision = |cluster: &Cluster| cluster.credentials.as_ref().map(|given| given.secret.revision);
    let is_same = |state: &State| state.clusters.get(id).is_some_and(|now| revision(now) == revision(cluster));
    while server.ledger.read(is_same) {
        if watch.until(concerns).await.is_err() {
            // The server stops, and this with it.
            std::future::pending::<()>().await;
        }
    }
}

async fn only_if(wanted: bool, work: impl Future<Output = Result<Infallible, Trouble>>) -> Result<Infallible, Trouble> {
    if wanted { work.await } else { std::future::pending().await }
}

async fn heartbeat(client: &Client) -> Result<Infallible, Trouble> {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        answer("version", client.apiserver_version()).await?;
    }
}

/// A client with the link's certificate, and one without any.
fn connect(server: &Unsealed, cluster: &Cluster) -> Result<(Client, Client), Trouble> {
    let failing = |err: anyhow::Error| Trouble::down(LinkCondition::Failing, format!("{err:#}"));
    let Some(identity) = link_identity::issue(server, cluster).map_err(failing)? else {
        return Err(Trouble::down(
            LinkCondition::NoKey,
            "the key of the cluster's authority is not here (external CA)",
        ));
    };
    let authority = link_identity::authority(cluster).unwrap_or_default();
    let targets = server.ledger.read(|state| targets(state, cluster));
    let everybody = transport::client(targets.clone(), authority, None)?;
    Ok((transport::client(targets, authority, Some(identity))?, everybody))
}

/// The endpoint, then the server of its kubeconfig, then the control planes that have joined. What a machine claims of its addresses
/// only says where to look: who answers there must show a certificate of the cluster's authority for that address.
fn targets(state: &State, cluster: &Cluster) -> Vec<Target> {
    let target = |text: &String| text.parse().ok().map(|endpoint: Endpoint| Target::of(&endpoint));
    let endpoint = target(&cluster.spec.endpoint);
    let given = cluster.credentials.as_ref().and_then(|given| target(&given.server));
    let planes = state.nodes_of(&cluster.id).filter(|node| is_joined_plane(node));
    let addresses = planes.flat_map(|node| own_addresses(cluster, node));
    let mut targets: Vec<Target> = endpoint.clone().into_iter().collect();
    targets.extend(given.filter(|given| endpoint.as_ref() != Some(given)));
    for host in addresses {
        let target = Target { host, port: API_PORT };
        if target.host.parse::<std::net::IpAddr>().is_ok() && !targets.contains(&target) && targets.len() <= OTHERS_MAX
        {
            targets.push(target);
        }
    }
    targets
}

/// Where a machine is: the address that an operator declared, then those it claims.
pub(super) fn own_addresses(cluster: &Cluster, node: &Node) -> Vec<String> {
    let declared = node.placement().and_then(|place| cluster.spec.named_node(&place.name));
    let declared = declared.map(|(_, named)| named.address.clone()).filter(|address| !address.is_empty());
    declared.into_iter().chain(node.facts.addresses.iter().cloned()).collect()
}

/// It has joined as a control plane, and nothing is held against it.
pub(super) fn is_joined_plane(node: &Node) -> bool {
    node.locked.is_none() && node.has_joined() && node.placement().is_some_and(|place| place.role == Role::ControlPlane)
}
