use super::{At, observe};
use crate::{
    ClusterId, NodeId, State,
    record::{BootstrapTokenState, EtcdMember, Observation, PermitKind, Placement, StepState, Verb},
};

/// A step is done: notes it, and lets go on who waited for it.
pub(super) fn apply(state: &mut State, at: &At<'_>, members: Option<&[EtcdMember]>, observation: Option<Observation>) {
    let Some(node) = state.nodes.get_mut(at.node) else { return };
    let step = &mut node.steps[at.index];
    if step.started_ms == 0 {
        step.started_ms = at.now_ms.saturating_sub(at.elapsed_ms);
    }
    step.state = StepState::Done;
    step.finished_ms = at.now_ms;
    step.elapsed_ms = at.elapsed_ms;
    observe(node, observation);
    node.last_seen_ms = at.now_ms;
    if at.verb == Verb::WaitReady {
        (node.failure, node.failures) = (None, 0);
    }
    let token = node.has_joined().then(|| node.bootstrap_token.clone()).flatten();
    let place = node.placement().cloned();
    let text = format!("step {} is done after {} ms", at.verb.step_id(), at.elapsed_ms);
    state.node_event(false, "StepDone", text, at.node);
    token.iter().for_each(|token| state.end_bootstrap_token(token));
    if let Some(place) = place {
        others_go_on(state, at, &place, members);
    }
}

fn others_go_on(state: &mut State, at: &At<'_>, place: &Placement, members: Option<&[EtcdMember]>) {
    match at.verb {
        Verb::Init => initialised(state, &place.cluster, at.now_ms),
        Verb::JoinEtcd | Verb::JoinWhole => {
            let is_voter = |member: &EtcdMember| member.name == place.name.as_str() && !member.learner;
            settle_etcd_permit(state, &place.cluster, at.node, members.is_some_and(|all| all.iter().any(is_voter)), false);
        }
        // It may be custodian from now on.
        Verb::Custodian | Verb::JoinFinish => {}
        Verb::JoinPrepare | Verb::JoinWorker | Verb::WaitReady | Verb::Reset => return,
    }
    state.refresh_cluster(&place.cluster);
}

fn initialised(state: &mut State, cluster: &ClusterId, now_ms: u64) {
    let Some(record) = state.clusters.get_mut(cluster) else { return };
    record.initialised = true;
    // Through a link the leader uploads `kubeadm-certs` itself, and only while somebody needs it.
    if record.spec.secrets_by_custodian() {
        record.certificates_uploaded_ms = now_ms;
    }
    let closed = record.spec.cluster_info_closed;
    let first = record.first_token.clone().and_then(|id| state.bootstrap_tokens.get_mut(&id));
    if let Some(token) = first.filter(|token| token.expires_ms == 0) {
        // `kubeadm init` has made it, even if it was revoked meanwhile: then its deletion follows.
        token.expires_ms = now_ms.saturating_add(token.ttl_ms);
        if token.state == BootstrapTokenState::Minted {
            // Nobody could discover the cluster with it.
            token.state = if closed { BootstrapTokenState::Ending } else { BootstrapTokenState::Present };
        }
    }
    state.event(false, "ClusterInitialised", "the first control plane is up".into(), Some(cluster.clone()), None);
}

/// Frees the permit on evidence that the holder votes; otherwise asks for evidence, which must be younger than this. `abandoned`:
/// the machine was reset, so what is left of it in etcd is of no use to anybody.
pub(super) fn settle_etcd_permit(state: &mut State, cluster: &ClusterId, id: &NodeId, voter: bool, abandoned: bool) {
    let record = state.clusters.get_mut(cluster);
    let permit = record.and_then(|record| record.permits.get_mut(&PermitKind::EtcdJoin));
    let Some(permit) = permit.filter(|permit| permit.holder.as_ref() == Some(id)) else { return };
    if voter {
        permit.evidence_wanted = false;
        permit.holder = None;
        state.node_event(false, "PermitReleased", "its etcd member votes".into(), id);
    } else {
        crate::command::grant_permit::drop_etcd_lists(state, id);
        state.node_event(true, "EvidenceWanted", "permit etcd-join stays until etcd shows no learner".into(), id);
        state.want_etcd_evidence(cluster, id, abandoned);
    }
}
