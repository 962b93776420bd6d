use crate::{
    NodeId, State,
    command::confirm_identity::PREVIOUS_KEPT,
    record::{ErrandKind, Identity, Node, Placement, Purpose},
    state::Change,
};

/// The record from a backup that an approved machine goes on with: one of those it replaces, which was in the very place it
/// is approved for and has not proved itself since.
pub(super) fn former(state: &State, replaced: &[NodeId], to: &Placement) -> Option<NodeId> {
    let is_former = |node: &&Node| {
        let was = node.placement();
        !node.is_proven() && was.is_some_and(|was| was.cluster == to.cluster && was.pool == to.pool && was.name == to.name)
    };
    let mut found = replaced.iter().filter_map(|id| state.nodes.get(id)).filter(is_former).map(|node| node.id.clone());
    found.next()
}

/// Joins a machine's new enrolment and its record from a backup: the keys, claims and id of the one, what it has done and
/// where it belongs of the other. It must not join again a cluster that it is a member of.
pub(super) fn come_back(state: &mut State, new: &NodeId, old: &NodeId) {
    let (Some(enrolled), Some(former)) = (state.take_node(new), state.take_node(old)) else { return };
    let identity = Identity { previous: previous(&enrolled.identity, &former.identity), ..enrolled.identity };
    let node = Node {
        id: enrolled.id,
        facts: enrolled.facts,
        facts_revision: enrolled.facts_revision,
        identity,
        standing: former.standing,
        enrolment_token: enrolled.enrolment_token.or(former.enrolment_token),
        last_seen_ms: enrolled.last_seen_ms,
        revision: enrolled.revision,
        missed_errands: 0,
        attached: None,
        ..former
    };
    state.put_node(node);
    point_to(state, new, old);
    state.changes.push(Change::Node(old.clone()));
    state.node_event(false, "NodeCameBack", format!("it goes on with the record of {old} from the backup"), new);
}

/// Keys that it must not show again. Its present one may be the very key that the backup knew.
fn previous(enrolled: &Identity, former: &Identity) -> Vec<crate::Digest> {
    let old = former.previous.iter().filter(|key| **key != enrolled.key).copied();
    let mut keys: Vec<_> = old.collect();
    keys.drain(..keys.len().saturating_sub(PREVIOUS_KEPT));
    keys
}

/// What named the record names the machine's new id.
fn point_to(state: &mut State, new: &NodeId, old: &NodeId) {
    for permit in state.clusters.values_mut().flat_map(|cluster| cluster.permits.values_mut()) {
        if permit.holder.as_ref() == Some(old) {
            permit.holder = Some(new.clone());
        }
    }
    for token in state.bootstrap_tokens.values_mut().filter(|token| token.purpose == Purpose::Node(old.clone())) {
        token.purpose = Purpose::Node(new.clone());
    }
    for errand in state.errands.values_mut() {
        if errand.custodian == *old {
            errand.custodian = new.clone();
        }
        if errand.kind == ErrandKind::ListEtcdMembers(old.clone()) {
            errand.kind = ErrandKind::ListEtcdMembers(new.clone());
        }
    }
}
