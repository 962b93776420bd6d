use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    ClusterId, Refusal, State,
    id::dns1123_label,
    limits,
    record::{Admission, ClusterSpec, Role},
    state::Context,
};

/// Changes what an operator wrote about a cluster. Replies with the new revision; an equal spec is no change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateCluster {
    /// Which one.
    pub id: ClusterId,
    /// The revision the caller compared with.
    pub revision: u64,
    /// The new text.
    pub spec: ClusterSpec,
}

impl UpdateCluster {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<u64, Refusal> {
        self.check(state)?;
        let cluster = state.cluster(&self.id)?;
        if cluster.spec == self.spec {
            return Ok(cluster.revision);
        }
        let name = cluster.spec.name.clone();
        let Some(cluster) = state.clusters.get_mut(&self.id) else { return Err(Refusal::not_found("cluster", &self.id)) };
        cluster.spec = self.spec;
        cluster.revision += 1;
        let revision = cluster.revision;
        state.event(false, "ClusterConfigured", format!("cluster {name} is at revision {revision}"), Some(self.id.clone()), None);
        state.touch_cluster(&self.id);
        Ok(revision)
    }

    /// Whether it would be refused now; changes nothing.
    pub fn check(&self, state: &State) -> Result<(), Refusal> {
        check_spec(&self.spec)?;
        let cluster = state.cluster(&self.id)?;
        if cluster.spec == self.spec {
            return Ok(());
        }
        if cluster.revision != self.revision {
            let name = cluster.spec.name.clone();
            return Err(Refusal::Changed { kind: "cluster".into(), name, now: cluster.revision });
        }
        check_frozen(&cluster.spec, &self.spec, cluster.initialised)?;
        check_roles(&self.spec, &cluster.workers_only)?;
        for node in state.nodes_of(&self.id) {
            let Some(place) = node.placement() else { continue };
            match self.spec.pool(&place.pool) {
                None => {
                    let problem = format!("pool {:?} still has node {}; remove the node first", place.pool, place.name);
                    return Err(Refusal::invalid("spec.pools", problem));
                }
                Some(pool) if pool.role != place.role => {
                    let problem = format!("pool {:?} has node {} of role {}", place.pool, place.name, place.role);
                    return Err(Refusal::invalid("spec.pools", problem));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

fn check_frozen(old: &ClusterSpec, new: &ClusterSpec, initialised: bool) -> Result<(), Refusal> {
    let frozen = [
        ("metadata.name", &old.name, &new.name, true),
        ("spec.keyAlgorithm", &old.key_algorithm, &new.key_algorithm, true),
        ("spec.kubernetes.endpoint", &old.endpoint, &new.endpoint, initialised),
        ("spec.kubernetes.podSubnet", &old.pod_subnet, &new.pod_subnet, initialised),
        ("spec.kubernetes.serviceSubnet", &old.service_subnet, &new.service_subnet, initialised),
        ("spec.kubernetes.dnsDomain", &old.dns_domain, &new.dns_domain, initialised),
    ];
    if initialised && old.link.is_some() != new.link.is_some() {
        let problem = "can't be changed once the cluster has a control plane: that is when the leader's rights are installed";
        return Err(Refusal::invalid("spec.kubernetes.access", problem));
    }
    if initialised && old.csr_approval().is_musters() != new.csr_approval().is_musters() {
        let problem = "can't be changed once the cluster has a control plane: that is when the cluster's own approval is taken away";
        return Err(Refusal::invalid("spec.kubernetes.csrApproval", problem));
    }
    if initialised && new.link.is_none() && old.cluster_info_closed != new.cluster_info_closed {
        let problem = "of a detached cluster it can't be changed once there is a control plane; \
                       `kubectl -n kube-public delete rolebinding kubeadm:bootstrap-signer-clusterinfo` closes it";
        return Err(Refusal::invalid("spec.kubernetes.clusterInfo", problem));
    }
    if initialised && old.cluster_info_closed && !new.cluster_info_closed {
        let problem = "is closed and is not opened again by Muster; `kubeadm init phase bootstrap-token` on a control plane does";
        return Err(Refusal::invalid("spec.kubernetes.clusterInfo", problem));
    }
    for (field, was, is, is_frozen) in frozen {
        if is_frozen && was != is {
            return Err(Refusal::invalid(field, format!("is {was:?} and can't be changed any more")));
        }
    }
    Ok(())
}

/// No pool of control planes where none can be added.
pub(super) fn check_roles(spec: &ClusterSpec, workers_only: &str) -> Result<(), Refusal> {
    match spec.pools.iter().position(|pool| pool.role == Role::ControlPlane) {
        Some(at) if !workers_only.is_empty() => {
            Err(Refusal::invalid(&format!("spec.pools[{at}].role"), format!("only workers can be added: {workers_only}")))
        }
        Some(_) | None => Ok(()),
    }
}

/// Checks what can be checked without knowing kubeadm. The edge has parsed versions and subnets before.
pub(super) fn check_spec(spec: &ClusterSpec) -> Result<(), Refusal> {
    dns1123_label(&spec.name).map_err(|problem| Refusal::invalid("metadata.name", problem))?;
    if spec.pools.len() > limits::POOLS_MAX {
        return Err(Refusal::Full { what: "spec.pools".into(), limit: limits::POOLS_MAX as u64 });
    }
    let (mut pools, mut names) = (BTreeSet::new(), BTreeSet::new());
    for (at, pool) in spec.pools.iter().enumerate() {
        let field = format!("spec.pools[{at}]");
        dns1123_label(&pool.name).map_err(|problem| Refusal::invalid(&format!("{field}.name"), problem))?;
        if !pools.insert(&pool.name) {
            return Err(Refusal::invalid(&format!("{field}.name"), format!("{:?} is given twice", pool.name)));
        }
        if pool.role == Role::ControlPlane && pool.admission == Admission::Token {
            let problem = "a control plane receives CA keys: admission must be approve or bound";
            return Err(Refusal::invalid(&format!("{field}.admission"), problem));
        }
        if spec.cluster_info_closed && pool.discovery != "file" {
            let problem = "must be file: clusterInfo is closed, so that nobody can discover the cluster by token";
            return Err(Refusal::invalid(&format!("{field}.discovery"), problem));
        }
        if pool.nodes.len() > limits::NAMED_NODES_MAX {
            return Err(Refusal::Full { what: format!("{field}.nodes"), limit: limits::NAMED_NODES_MAX as u64 });
        }
        for node in &pool.nodes {
            if !names.insert(&node.name) {
                return Err(Refusal::invalid(&format!("{field}.nodes"), format!("{} is given twice", node.name)));
            }
        }
    }
    Ok(())
}
