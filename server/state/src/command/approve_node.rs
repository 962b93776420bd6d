use serde::{Deserialize, Serialize};

use super::{enrol::duplicate_of, remove_node::remove};
use crate::{
    ClusterId, Digest, NodeId, NodeName, Refusal, State,
    record::{Assurance, Placement, Role, Standing},
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
    /// It takes the place of the node of the same hardware or name.
    pub replace: bool,
}

impl ApproveNode {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<(), Refusal> {
        let node = state.node(&self.node)?;
        if node.identity.key != self.key {
            return Err(Refusal::SeenDiffers { what: "the key fingerprint".into() });
        }
        if node.facts_revision != self.facts_revision {
            return Err(Refusal::SeenDiffers { what: "what the machine claims".into() });
        }
        let Standing::Pending { suggested, .. } = &node.standing else {
            return Err(Refusal::WrongPhase { phase: node.phase, problem: "only a pending machine can be approved".into() });
        };
        let suggested = suggested.clone();
        let duplicate = duplicate_of(state, &node.facts, &self.node).map(|(what, other)| (what, other.id.clone()));
        let cluster = self.cluster.or_else(|| suggested.as_ref().map(|to| to.cluster.clone())).or_else(|| only(state));
        let Some(cluster) = cluster else { return Err(Refusal::invalid("cluster", "is needed: the fleet has none or several")) };
        let spec = &state.cluster(&cluster)?.spec;
        let named = self.name.clone().or_else(|| suggested.as_ref().and_then(|to| to.name.clone()));
        let pool = self.pool.or_else(|| suggested.map(|to| to.pool))
            .or_else(|| named.as_ref().and_then(|name| spec.named_node(name)).map(|(pool, _)| pool.name.clone()))
            .or_else(|| (spec.pools.len() == 1).then(|| spec.pools[0].name.clone()));
        let Some(pool) = pool else { return Err(Refusal::invalid("pool", "is needed: the cluster has none or several")) };
        let Some(role) = spec.pool(&pool).map(|pool| pool.role) else { return Err(Refusal::not_found("pool", pool)) };
        let name = named.unwrap_or_else(|| NodeName::made(&pool, &self.node));
        let holder = state.node_named(&cluster, &name).map(|node| node.id.clone());
        let mut replaced: Vec<NodeId> = Vec::new();
        if let Some((what, other)) = duplicate {
            if !self.replace {
                let other = state.node(&other)?.label();
                return Err(Refusal::DuplicateHardware { what: what.into(), other });
            }
            replaced.push(other);
        }
        if let Some(holder) = holder.filter(|holder| !replaced.contains(holder)) {
            if !self.replace {
                return Err(Refusal::NameTaken { name, holder: holder.to_string() });
            }
            replaced.push(holder);
        }
        for other in &replaced {
            check_replaceable(state, other)?;
        }
        replaced.iter().for_each(|other| remove(state, other, "replaced by a machine with new keys"));
        if let Some(node) = state.nodes.get_mut(&self.node) {
            node.standing = Standing::Admitted(Placement { cluster, pool, role, name, assurance: Assurance::Approved });
        }
        state.node_event(false, "NodeApproved", format!("approved with key {}", self.key), &self.node);
        state.touch(&self.node);
        Ok(())
    }
}

/// A joined control plane holds an etcd member, which must be removed from etcd before its place is given away.
fn check_replaceable(state: &State, id: &NodeId) -> Result<(), Refusal> {
    let node = state.node(id)?;
    let control_plane = node.placement().is_some_and(|place| place.role == Role::ControlPlane);
    if control_plane && node.attempt > 0 {
        let problem = format!("{} may hold an etcd member: remove the member and the Node from the cluster, then `muster node remove` it", node.label());
        return Err(Refusal::WrongPhase { phase: node.phase, problem });
    }
    Ok(())
}

fn only(state: &State) -> Option<ClusterId> {
    let mut clusters = state.clusters.keys();
    clusters.next().filter(|_| state.clusters.len() == 1).cloned()
}
