//! The leader's look at the etcd of each linked cluster whose etcd authority's key is here (so not at an external one).
//!
//! Over etcd's own API, with a certificate of an hour from that authority (`client`). What is seen goes into the log first; what is
//! decided there about members is done after, against a look that is younger than the decision: members have random ids that never
//! come again, so a removal that is late or done twice finds nothing to remove. This room names no `kube`.
//!
//! Absent on purpose: adding and promoting members, which kubeadm does; decisions, which are the state's.

mod client;
#[cfg(test)]
pub(super) mod tests;

use std::time::{Duration, Instant};

use muster_state::{
    Change, ClusterId, Phase, State,
    command::{EndEtcdRemoval, EtcdSeen, ObserveEtcd},
    record::{Cluster, EtcdRemoval, PermitKind},
};

use self::client::{Client, EtcdError};
use super::{
    link::{RENEW_AFTER, is_joined_plane, own_addresses},
    pace::Pace,
    transport::Target,
};
use crate::{
    clock::now_ms,
    kubeadm::{endpoint::Endpoint, version::KubernetesVersion},
    ledger::{ProposeError, Watch},
    operations::{Unsealed, link_identity},
};

/// Between two looks when nobody waits for one.
const QUIET: Duration = Duration::from_secs(15);
/// Between two looks when a join or a removal is under way.
const BUSY: Duration = Duration::from_secs(2);
/// Between two looks at the least, however much changes.
const LEAST: Duration = Duration::from_secs(1);
/// An election is over before the second look; only then is it said that etcd can't be seen.
const FAILURES_TOLD: u32 = 2;
/// A removal that could not be done for so long is decided anew, or not.
const REMOVAL_PATIENCE_MS: u64 = 5 * 60 * 1000;
/// Addresses that are tried.
const TARGETS_MAX: usize = 16;
/// Addresses of one machine that are tried: it may claim hundreds, and the one it advertises is among the first.
const PER_MACHINE: usize = 3;
/// Where etcd listens for clients: kubeadm's default.
const CLIENT_PORT: u16 = 2379;

/// Looks at the etcd of one cluster for as long as it is polled.
pub(super) async fn keep(server: Unsealed, id: ClusterId) {
    let mut watch = server.ledger.watch();
    let mut watcher = Watcher { server, id, client: None, failures: 0 };
    let mut pace = Pace::new();
    loop {
        match watcher.turn().await {
            Ok(Turn::Look) => {
                pace = Pace::new();
                watcher.rest(&mut watch).await;
            }
            Ok(Turn::Again) => tokio::time::sleep(LEAST).await,
            Err(err) => {
                watcher.client = None;
                tracing::debug!(cluster = %watcher.id, err = %format!("{err:#}"), "a cluster's etcd is not seen");
                pace.wait(None).await;
            }
        }
    }
}

/// Kubernetes brings etcd 3.5 from 1.22 on. An older one answers with what a single member knows, which is no evidence: there a
/// custodian looks.
fn lists_by_majority(cluster: &Cluster) -> bool {
    const MINOR: u32 = 22;
    KubernetesVersion::parse(&cluster.spec.kubernetes_version).is_ok_and(|version| version.minor() >= MINOR)
}

/// What comes after one look.
enum Turn {
    /// The next look, in its time.
    Look,
    /// Another look at once: something was done.
    Again,
}

struct Watcher {
    server: Unsealed,
    id: ClusterId,
    client: Option<(Client, Instant)>,
    /// Looks in a row that showed nothing.
    failures: u32,
}

impl Watcher {
    /// Looks, says so in the log, and does what is decided there.
    async fn turn(&mut self) -> anyhow::Result<Turn> {
        let cluster = self.server.ledger.read(|state| state.clusters.get(&self.id).cloned());
        let cluster = cluster.filter(|cluster| link_identity::has_etcd_key(cluster) && lists_by_majority(cluster));
        let Some(cluster) = cluster else { return Ok(Turn::Look) };
        let after = self.server.ledger.read(|state| state.last_event);
        let seen = match self.client(&cluster) {
            Ok(client) => client.look().await.map_err(anyhow::Error::from),
            Err(err) => Err(err),
        };
        match seen {
            Ok(members) => {
                self.failures = 0;
                self.note(after, EtcdSeen::Members(members)).await?;
                self.carry_out().await
            }
            Err(err) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= FAILURES_TOLD {
                    self.note(after, EtcdSeen::Nothing(format!("{err:#}"))).await?;
                    self.give_up().await?;
                }
                Err(err)
            }
        }
    }

    /// The client of this hour.
    fn client(&mut self, cluster: &Cluster) -> anyhow::Result<&Client> {
        if self.client.as_ref().is_some_and(|(_, since)| since.elapsed() >= RENEW_AFTER) {
            self.client = None;
        }
        let client = match self.client.take() {
            Some(client) => client,
            None => (connect(&self.server, cluster)?, Instant::now()),
        };
        Ok(&self.client.insert(client).0)
    }

    async fn note(&self, after: u64, seen: EtcdSeen) -> Result<(), ProposeError> {
        let verb = ObserveEtcd { cluster: self.id.clone(), after, seen };
        if self.server.ledger.read(|state| verb.is_news(state)) {
            self.server.ledger.propose(verb).await?;
        }
        Ok(())
    }

    /// Takes out who is to be taken out by what the log says now that it knows this look.
    async fn carry_out(&self) -> anyhow::Result<Turn> {
        let removals = self.removals();
        let mut turn = Turn::Look;
        for removal in removals {
            let Some((client, _)) = &self.client else { break };
            turn = Turn::Again;
            match client.remove(&removal.member).await {
                Ok(()) => tracing::info!(cluster = %self.id, member = removal.member, "an etcd member was taken out"),
                Err(EtcdError::Refused(problem)) => self.end(removal, problem).await?,
                Err(EtcdError::Unreachable(problem)) if is_old(&removal) => self.end(removal, problem).await?,
                Err(EtcdError::Unreachable(problem)) => {
                    tracing::info!(cluster = %self.id, member = removal.member, err = problem, "etcd has not taken a member out yet");
                }
            }
        }
        Ok(turn)
    }

    /// Ends decisions that nobody could carry out for too long: by then they may be wrong.
    async fn give_up(&self) -> Result<(), ProposeError> {
        for removal in self.removals().into_iter().filter(is_old) {
            self.end(removal, "etcd could not be asked for minutes".into()).await?;
        }
        Ok(())
    }

    fn removals(&self) -> Vec<EtcdRemoval> {
        self.server.ledger.read(|state| {
            let view = state.clusters.get(&self.id).and_then(|cluster| cluster.etcd.as_ref());
            view.map(|view| view.removals.clone()).unwrap_or_default()
        })
    }

    async fn end(&self, removal: EtcdRemoval, problem: String) -> Result<(), ProposeError> {
        let verb = EndEtcdRemoval { cluster: self.id.clone(), member: removal.member, problem };
        self.server.ledger.propose(verb).await
    }

    /// Until the next look: a while, or until something about the cluster has changed.
    async fn rest(&self, watch: &mut Watch) {
        tokio::time::sleep(LEAST).await;
        let pause = if self.server.ledger.read(|state| is_busy(state, &self.id)) { BUSY } else { QUIET };
        let concerns = |change: &Change| matches!(change, Change::Cluster(id) if *id == self.id);
        tokio::select! {
            () = tokio::time::sleep(pause - LEAST) => {}
            // One that says no more is as good as silence: the leader's term ends with it, and this with the term.
            Ok(()) = watch.until(concerns) => {}
        }
    }
}

fn is_old(removal: &EtcdRemoval) -> bool {
    now_ms().saturating_sub(removal.since_ms) >= REMOVAL_PATIENCE_MS
}

/// Somebody joins etcd or waits to, or is to be taken out.
fn is_busy(state: &State, id: &ClusterId) -> bool {
    let Some(cluster) = state.clusters.get(id) else { return false };
    let decided = cluster.etcd.as_ref().is_some_and(|view| !view.removals.is_empty());
    let held = cluster.permit(PermitKind::EtcdJoin).holder.is_some();
    decided || held || state.nodes_of(id).any(|node| node.phase == Phase::WaitingForEtcdPermit)
}

fn connect(server: &Unsealed, cluster: &Cluster) -> anyhow::Result<Client> {
    let identity = link_identity::issue_for_etcd(server, cluster)?;
    let identity = identity.ok_or_else(|| anyhow::anyhow!("the key of etcd's authority is not here"))?;
    let authority = link_identity::etcd_authority(cluster).unwrap_or_default();
    let targets = server.ledger.read(|state| targets(state, cluster));
    let client = Client::new(targets, authority, identity);
    client.ok_or_else(|| anyhow::anyhow!("etcd's authority or the certificate can't be used"))
}

/// Members as they were last seen, healthy ones first; then the machines of control planes that have joined, the server of its
/// kubeconfig, and whoever holds the endpoint. All of it only says where to look: who answers there must show a certificate of etcd's
/// authority for that address.
fn targets(state: &State, cluster: &Cluster) -> Vec<Target> {
    let mut members: Vec<_> = cluster.etcd.iter().flat_map(|view| &view.members).collect();
    members.sort_by_key(|watched| !watched.healthy);
    let urls = members.into_iter().flat_map(|watched| &watched.member.peer_urls);
    let known = urls.filter_map(|url| client::target(url)).map(|target| target.host);
    let planes = state.nodes_of(&cluster.id).filter(|node| is_joined_plane(node));
    let claimed = planes.flat_map(|node| own_addresses(cluster, node).into_iter().take(PER_MACHINE));
    let given = cluster.credentials.as_ref().and_then(|given| given.server.parse::<Endpoint>().ok());
    let endpoint = given.map(|server| server.host()).into_iter().chain([cluster.spec.endpoint_host().to_owned()]);
    let mut targets = Vec::new();
    for host in known.chain(claimed).chain(endpoint) {
        let target = Target { host, port: CLIENT_PORT };
        if !targets.contains(&target) && targets.len() < TARGETS_MAX {
            targets.push(target);
        }
    }
    targets
}
