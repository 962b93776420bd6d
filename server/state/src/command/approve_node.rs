use serde::{Deserialize, Serialize};

mod come_back;

use super::{enrol::duplicates_of, remove_node::remove};
use crate::{
    ClusterId, Digest, NodeId, NodeName, Refusal, State,
    record::{EtcdView, Assurance, Node, Placement, Role, Standing, Suggestion},
    state::Context,
};

/// Lets a machine in. Names what the operator saw and is refused if that has changed since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApproveNode {
    /// The machine.
    pub node: NodeId,
    /// The fingerprint that was compared.
    pub key: Digest,
    /// The facts that were read.
    pub facts_revision: u64,
    /// Where to; absent: as suggested by its token or a selector.
    pub cluster: Option<ClusterId>,
    /// Which pool; absent: as suggested, or the only one.
    pub pool: Option<String>,
    /// Which name; absent: as suggested, else one made from pool and id.
    pub name: Option<NodeName>,
    /// It takes the place of the nodes of the same hardware or name. If one of them is its own record from a backup, it goes
    /// on with that.
    pub replace: bool,
}

impl ApproveNode {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<(), Refusal> {
        let node = state.node(&self.node)?;
        let suggested = self.check_seen(node)?.cloned();
        let placement = self.place(state, suggested)?;
        let mut replaced = self.replaced(state, node, &placement)?;
        let former = come_back::former(state, &replaced, &placement);
        if let Some(reason) = former.as_ref().and_then(|former| state.nodes.get(former)?.locked.clone()) {
            return Err(Refusal::Locked(reason));
        }
        replaced.retain(|other| Some(other) != former.as_ref());
        replaced.iter().try_for_each(|other| check_replaceable(state, other))?;
        replaced.iter().for_each(|other| remove(state, other, "replaced by a machine with new keys"));
        match former {
            Some(former) => come_back::come_back(state, &self.node, &former),
            None => state.change_node(&self.node, |node| node.standing = Standing::Admitted(placement))?,
        }
        state.node_event(false, "NodeApproved", format!("approved with key {}", self.key), &self.node);
        state.touch(&self.node);
        Ok(())
    }

    /// What the operator saw is what is there; gives the suggestion.
    fn check_seen<'a>(&self, node: &'a Node) -> Result<Option<&'a Suggestion>, Refusal> {
        if node.identity.key != self.key {
            return Err(Refusal::SeenDiffers { what: "the key fingerprint".into() });
        }
        if node.facts_revision != self.facts_revision {
            return Err(Refusal::SeenDiffers { what: "what the machine claims".into() });
        }
        if let Some(reason) = &node.locked {
            return Err(Refusal::Locked(reason.clone()));
        }
        let Standing::Pending { suggested, .. } = &node.standing else {
            let problem = "only a pending machine can be approved".into();
            return Err(Refusal::WrongPhase { phase: node.phase, problem });
        };
        Ok(suggested.as_ref())
    }

    /// Where it goes: the operator's words first, then the suggestion as far as it does not contradict them.
    fn place(&self, state: &State, suggested: Option<Suggestion>) -> Result<Placement, Refusal> {
        let cluster = self.cluster.clone().or_else(|| suggested.as_ref().map(|to| to.cluster.clone()));
        let Some(cluster) = cluster.or_else(|| only_cluster(state)) else {
            return Err(Refusal::invalid("cluster", "is needed: the fleet has none or several"));
        };
        let spec = &state.cluster(&cluster)?.spec;
        let suggested = suggested.filter(|to| to.cluster == cluster);
        let listed = self.name.as_ref().and_then(|name| spec.named_node(name)).map(|(pool, _)| pool.name.clone());
        let only = || (spec.pools.len() == 1).then(|| spec.pools[0].name.clone());
        let pool = self.pool.clone().or_else(|| listed.clone());
        let pool = pool.or_else(|| suggested.as_ref().map(|to| to.pool.clone())).or_else(only);
        let Some(pool) = pool else {
            return Err(Refusal::invalid("pool", "is needed: the cluster has none or several"));
        };
        let Some(role) = spec.pool(&pool).map(|pool| pool.role) else { return Err(Refusal::not_found("pool", pool)) };
        if let Some(its) = listed.filter(|its| *its != pool) {
            return Err(Refusal::invalid("name", format!("is listed in pool {its:?}, not in {pool:?}")));
        }
        let suggested = suggested.filter(|to| to.pool == pool).and_then(|to| to.name);
        let name = self.name.clone().or(suggested).unwrap_or_else(|| NodeName::made(&pool, &self.node));
        Ok(Placement { cluster, pool, role, name, assurance: Assurance::Approved })
    }

    /// The nodes whose place it takes; a refusal if there are any and the operator did not say so.
    fn replaced(&self, state: &State, node: &Node, to: &Placement) -> Result<Vec<NodeId>, Refusal> {
        let mut replaced: Vec<NodeId> = Vec::new();
        for (what, other) in duplicates_of(state, &node.facts, &self.node) {
            if !self.replace {
                return Err(Refusal::DuplicateHardware { what: what.into(), other: other.label() });
            }
            replaced.push(other.id.clone());
        }
        if let Some(holder) = state.node_named(&to.cluster, &to.name).filter(|holder| !replaced.contains(&holder.id)) {
            if !self.replace {
                return Err(Refusal::NameTaken { name: to.name.clone(), holder: holder.id.to_string() });
            }
            replaced.push(holder.id.clone());
        }
        Ok(replaced)
    }
}

/// A joined control plane holds an etcd member, which must be out of etcd before its place is given away: where the leader sees the
/// members, it sees that; elsewhere an operator says so by removing the node.
fn check_replaceable(state: &State, id: &NodeId) -> Result<(), Refusal> {
    let node = state.node(id)?;
    let Some(place) = node.placement().filter(|place| place.role == Role::ControlPlane && node.attempt > 0) else {
        return Ok(());
    };
    let (label, cluster) = (node.label(), state.cluster(&place.cluster)?);
    let problem = if !cluster.etcd.as_ref().is_some_and(EtcdView::is_current) {
        format!(
            "{label} may hold an etcd member: remove the member and the Node from the cluster, then `muster node remove` it"
        )
    } else if let Some(member) = state.member_of(node) {
        let (name, id) = (&cluster.spec.name, &member.member.id);
        format!(
            "etcd still lists {} of {label}; once it is sure that it does not run any more: `muster etcd remove {name} {id}`",
            member.describe()
        )
    } else {
        return Ok(());
    };
    Err(Refusal::WrongPhase { phase: node.phase, problem })
}

fn only_cluster(state: &State) -> Option<ClusterId> {
    let mut clusters = state.clusters.keys();
    clusters.next().filter(|_| state.clusters.len() == 1).cloned()
}
