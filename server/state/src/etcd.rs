//! Rules on etcd's members: who may be taken out, and who stands in the way of a join. Pure, so that the decision in the log and
//! the look right before the deed are the same rule.

use std::net::IpAddr;

use crate::{
    ClusterId, NodeId, State,
    record::{Cluster, Node, Permit, PermitKind, WatchedMember},
};

/// Where kubeadm lets etcd listen for its peers.
const PEER_PORT: u16 = 2380;

/// Voters that must agree, out of so many.
pub const fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

/// Whether etcd goes on after a member was taken out by an operator's word.
///
/// # Errors
/// In a sentence, what it would cost and what to do instead.
pub fn check_removal(members: &[WatchedMember], id: &str) -> Result<(), String> {
    let Some(leaving) = members.iter().find(|watched| watched.member.id == id) else {
        return Err(format!("etcd has no member {id}"));
    };
    if !leaving.is_voter() {
        return Ok(());
    }
    let count = |counts: &dyn Fn(&&WatchedMember) -> bool| members.iter().filter(counts).count();
    let (voters, healthy) = (count(&|watched| watched.is_voter()), count(&|watched| watched.holds_quorum()));
    if voters == 1 {
        return Err(format!("{} is etcd's only voter: without it the cluster's data is gone", leaving.describe()));
    }
    if healthy < quorum(voters) {
        return Err(format!(
            "only {healthy} of {voters} voters are healthy, so etcd can't change its members; bring members back, or restore etcd \
             from a snapshot"
        ));
    }
    let left = healthy - usize::from(leaving.holds_quorum());
    if left < quorum(voters - 1) {
        return Err(format!(
            "without {} only {left} of {} voters would be healthy, and etcd would stop; bring another member back, or take an \
             unhealthy one out first",
            leaving.describe(),
            voters - 1
        ));
    }
    Ok(())
}

/// That peer URL is the one that kubeadm gives the etcd of a machine with this address.
pub fn is_peer_url_of(url: &str, address: &str) -> bool {
    let Some(place) = url.strip_prefix("https://") else { return false };
    let Some((host, port)) = place.trim_end_matches('/').rsplit_once(':') else { return false };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let same = |a: IpAddr, b: IpAddr| a.to_canonical() == b.to_canonical();
    let both = host.parse().ok().zip(address.parse().ok());
    port.parse() == Ok(PEER_PORT) && both.is_some_and(|(a, b)| same(a, b))
}

/// It listens, or is to listen, at one of these addresses.
fn is_at(watched: &WatchedMember, addresses: &[String]) -> bool {
    watched.member.peer_urls.iter().any(|url| addresses.iter().any(|address| is_peer_url_of(url, address)))
}

/// Where a node's etcd would listen: the address that an operator declared, or else one of those that the machine claims.
pub(crate) fn addresses(cluster: &Cluster, node: &Node) -> Vec<String> {
    let declared = node.placement().and_then(|place| cluster.spec.named_node(&place.name));
    match declared.map(|(_, named)| &named.address).filter(|address| !address.is_empty()) {
        Some(address) => vec![address.clone()],
        None => node.facts.addresses.clone(),
    }
}

/// The member that a permit's holder left behind: a learner that never started, at its address, after the machine was reset or
/// its node was removed. Nobody else's, and none that ever ran.
pub fn left_behind<'a>(cluster: &'a Cluster, permit: &Permit) -> Option<&'a WatchedMember> {
    let is_over = permit.holder.is_some() && permit.evidence_wanted && permit.abandoned;
    let view = cluster.etcd.as_ref().filter(|_| is_over)?;
    view.members.iter().find(|watched| watched.is_unstarted_learner() && is_at(watched, &permit.addresses))
}

impl State {
    /// The member that must be gone before this node may join etcd: it runs, or ran, at the machine's address, and its data are
    /// not on the machine any more. A learner that never started is no hindrance: kubeadm goes on with it.
    pub fn former_member<'a>(&'a self, node: &Node) -> Option<&'a WatchedMember> {
        let cluster = self.clusters.get(&node.placement()?.cluster)?;
        let addresses = addresses(cluster, node);
        let members = &cluster.etcd.as_ref()?.members;
        members.iter().find(|watched| !watched.is_unstarted_learner() && is_at(watched, &addresses))
    }

    /// The member that is that node's by its address or its name, and ran.
    pub(crate) fn member_of<'a>(&'a self, node: &Node) -> Option<&'a WatchedMember> {
        let place = node.placement()?;
        let members = &self.clusters.get(&place.cluster)?.etcd.as_ref()?.members;
        self.former_member(node).or_else(|| members.iter().find(|watched| watched.member.name == place.name.as_str()))
    }

    /// Why etcd can't be joined by that node now, though the permit may be free; `None` if it can.
    pub fn etcd_hindrance(&self, cluster: &ClusterId, node: &Node) -> Option<String> {
        let record = self.clusters.get(cluster)?;
        let view = record.etcd.as_ref()?;
        let name = &record.spec.name;
        if let Some(former) = self.former_member(node) {
            let id = &former.member.id;
            return Some(match view.removal(id) {
                Some(_) => format!("etcd member {id}, which was at this machine's address, is being taken out"),
                None => format!(
                    "etcd still lists {} at this machine's address, whose data are gone; once it is sure that nothing else \
                     runs there: `muster etcd remove {name} {id}`",
                    former.describe()
                ),
            });
        }
        let pending = view.removals.first()?;
        Some(format!("etcd member {} is being taken out first", pending.member))
    }

    /// Notes that a permit's holder has ended otherwise than as a voter: the permit stays until etcd is seen to have no learner,
    /// by a look that began after this. `abandoned`: its machine was reset, or its node was removed.
    pub(crate) fn want_etcd_evidence(&mut self, cluster: &ClusterId, holder: &NodeId, abandoned: bool) {
        let last_event = self.last_event;
        let record = self.clusters.get_mut(cluster);
        let permit = record.and_then(|record| record.permits.get_mut(&PermitKind::EtcdJoin));
        if let Some(permit) = permit.filter(|permit| permit.holder.as_ref() == Some(holder)) {
            permit.evidence_wanted = true;
            permit.evidence_after = last_event;
            permit.abandoned = abandoned;
        }
    }
}
