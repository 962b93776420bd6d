//! What holds after every command, whatever the command was.

mod etcd;
mod servers;

use std::collections::BTreeSet;

use muster_state::{
    Applied, Change, Command, Digest, NodeId, NodeName, Stamp, State, Verb, limits,
    record::{ErrandState, Node, Origin, PermitKind, Purpose, Role, Step, StepState},
};

/// Applies a command and checks all that must hold between the state before and the state after.
#[track_caller]
pub(crate) fn apply_watched(state: &mut State, stamp: Stamp, command: Command) -> Applied {
    let before = state.clone();
    let applied = state.apply(stamp, command.clone());
    if applied.reply.is_err() {
        assert!(applied.changes.is_empty(), "{command:?} was refused and woke somebody");
        assert_eq!(traceless(&before), traceless(state), "{command:?} was refused and left a trace");
    }
    assert!(state.now_ms >= before.now_ms, "time went back");
    check_wakes(&before, state, &applied.changes, &command);
    check_permits(&before, state, &command);
    check_placements(&before, state);
    etcd::check_step(&before, state);
    servers::check_step(&before, state, &applied.changes, &command);
    check(state);
    applied
}

/// The state without what a refusal may change: the time and the stored replies.
fn traceless(state: &State) -> serde_json::Value {
    let mut value = serde_json::to_value(state).expect("a state is JSON");
    let fields = value.as_object_mut().expect("an object");
    fields.remove("now_ms");
    fields.remove("replies");
    value
}

/// All that must hold of one state.
#[track_caller]
pub(crate) fn check(state: &State) {
    check_keys_and_names(state);
    check_tokens(state);
    check_bounds(state);
    servers::check(state);
    for node in state.nodes.values() {
        let (phase, message) = state.whereabouts(node);
        assert_eq!((node.phase, &node.message), (phase, &message), "what is shown of {} is out of date", node.id);
        assert_eq!(node.timeline.last().map(|entry| entry.phase), Some(phase));
    }
    for cluster in state.clusters.values() {
        let brought = cluster.origin == Origin::Imported && cluster.spec.link.is_some();
        assert_eq!(
            cluster.credentials.is_some(),
            brought,
            "what is brought in is linked by credentials, and nothing else"
        );
        let planes = cluster.spec.pools.iter().any(|pool| pool.role == Role::ControlPlane);
        assert!(cluster.workers_only.is_empty() || !planes, "a pool of control planes where none can be added");
        for kind in [PermitKind::Init, PermitKind::EtcdJoin] {
            let free = |node: &&Node| {
                let step = node.current_step().filter(|step| step.verb.permit() == Some(kind));
                step.is_some_and(|step| state.may_run(node, step.verb))
            };
            let running = state.nodes_of(&cluster.id).filter(free).count();
            assert!(running <= 1, "{running} nodes may run what permit {kind} guards");
        }
        let open: Vec<_> =
            state.errands.values().filter(|e| e.state == ErrandState::Open && e.cluster == cluster.id).collect();
        for (at, one) in open.iter().enumerate() {
            assert!(open[at + 1..].iter().all(|other| !one.kind.overlaps(&other.kind)), "two errands do the same");
        }
    }
    assert!(state.errands.keys().all(|number| *number <= state.last_errand));
}

fn check_keys_and_names(state: &State) {
    let mut keys: BTreeSet<Digest> = BTreeSet::new();
    let mut names: BTreeSet<(&str, &NodeName)> = BTreeSet::new();
    // What a backup knew of keys is only remembered; the machine may come with one of them.
    for node in state.nodes.values().filter(|node| node.is_proven()) {
        let identity = &node.identity;
        let next = identity.next.as_ref().map(|next| next.key);
        for key in [identity.key].into_iter().chain(next).chain(identity.previous.iter().copied()) {
            assert!(keys.insert(key), "key {key} is known twice");
        }
    }
    for node in state.nodes.values() {
        if let Some(place) = node.placement() {
            assert!(names.insert((place.cluster.as_str(), &place.name)), "two nodes are named {}", place.name);
        }
    }
}

fn check_tokens(state: &State) {
    for token in state.enrolment_tokens.values() {
        assert!(token.used_by.len() <= token.uses as usize, "token {} was used too often", token.id);
        assert_eq!(token.used_by.iter().collect::<BTreeSet<_>>().len(), token.used_by.len(), "a node used it twice");
    }
    let mut served: BTreeSet<&NodeId> = BTreeSet::new();
    for token in state.bootstrap_tokens.values() {
        let lives = token.state.is_wanted();
        let Purpose::Node(owner) = &token.purpose else { continue };
        if lives {
            assert!(served.insert(owner), "{owner} has two live bootstrap tokens");
            let node = state.nodes.get(owner).expect("a live token belongs to a node");
            assert_eq!(node.bootstrap_token.as_ref(), Some(&token.id), "a live token is forgotten by its node");
            assert_eq!(node.placement().map(|place| &place.cluster), Some(&token.cluster));
        }
    }
}

fn check_bounds(state: &State) {
    assert!(state.events.len() <= limits::EVENTS_MAX);
    assert!(state.comparisons.len() <= limits::COMPARISONS_KEPT);
    assert!(state.events.iter().zip(state.events.iter().skip(1)).all(|(a, b)| a.sequence + 1 == b.sequence));
    assert!(state.events.iter().all(|event| event.message.len() <= limits::TEXT_MAX));
    for node in state.nodes.values() {
        assert!(!node.timeline.is_empty() && node.timeline.len() <= limits::TIMELINE_MAX);
        assert!(node.message.len() <= limits::TEXT_MAX);
        assert!(node.timeline.iter().zip(node.timeline.iter().skip(1)).all(|(a, b)| a.at_ms <= b.at_ms));
    }
    for cluster in state.clusters.keys() {
        let closed = state.errands.values().filter(|e| e.cluster == *cluster && e.state != ErrandState::Open).count();
        assert!(closed <= limits::DONE_ERRANDS_KEPT);
        let custody = state.clusters[cluster].custody.as_ref();
        assert!(custody.is_none_or(|custody| custody.passed_over.len() <= limits::REQUESTS_PASSED_MAX));
    }
}

/// What a node's instruction is made of.
fn told(state: &State, node: &Node) -> impl PartialEq + use<> {
    let open = |step: &Step| step.state != StepState::Done && state.may_run(node, step.verb);
    let steps: Vec<_> = node.steps.iter().map(|step| (step.verb, step.state, open(step))).collect();
    let errands: Vec<u64> = state.open_errands(&node.id).map(|errand| errand.number).collect();
    let place = node.placement().cloned();
    let version = place.as_ref().and_then(|place| state.clusters.get(&place.cluster)).map(|c| c.spec.clone());
    (node.phase, node.message.clone(), node.attempt, node.locked.clone(), steps, errands, place, version)
}

#[track_caller]
fn check_wakes(before: &State, after: &State, changes: &[Change], command: &Command) {
    let ids: BTreeSet<&NodeId> = before.nodes.keys().chain(after.nodes.keys()).collect();
    for id in ids {
        let woken = changes.contains(&Change::Node(id.clone()));
        match (before.nodes.get(id), after.nodes.get(id)) {
            (Some(was), Some(is)) => {
                assert!(is.revision >= was.revision);
                assert!(woken || is.revision == was.revision, "{id} has a new revision and sleeps");
                let differs = told(before, was) != told(after, is);
                assert!(
                    is.revision > was.revision || !differs,
                    "{command:?} tells {id} something new without a revision"
                );
            }
            (None, Some(_)) | (Some(_), None) => assert!(woken, "{id} came or went and nobody wakes"),
            (None, None) => {}
        }
    }
    for event in after.events.iter().filter(|event| event.sequence > before.last_event) {
        assert!(changes.contains(&Change::Event(event.sequence)));
    }
    let records =
        |state: &State| (state.clusters.clone(), state.enrolment_tokens.clone(), state.bootstrap_tokens.clone());
    assert!(!changes.is_empty() || records(before) == records(after), "{command:?} changed records and nobody wakes");
}

/// A permit moves only for a reason that the design names; every other verb is none.
fn check_permits(before: &State, after: &State, command: &Command) {
    for (id, cluster) in &after.clusters {
        let Some(was) = before.clusters.get(id) else { continue };
        for kind in [PermitKind::Init, PermitKind::EtcdJoin] {
            let (old, new) = (was.permit(kind), cluster.permit(kind));
            assert!(!was.initialised || kind != PermitKind::Init || old.grants == new.grants, "init was granted again");
            let Some(holder) = old.holder.filter(|holder| new.holder.as_ref() != Some(holder)) else { continue };
            if came_back(before, &holder, new.holder.as_ref(), command) {
                continue;
            }
            assert_eq!(new.holder, None, "permit {kind} went from one holder to another in one step");
            let has_reason = match &command.verb {
                Verb::Report(report) => report.node == holder,
                Verb::RemoveNode(_) | Verb::ApproveNode(_) => kind == PermitKind::Init,
                Verb::CompleteErrand(_) | Verb::ObserveEtcd(_) => kind == PermitKind::EtcdJoin && old.evidence_wanted,
                Verb::FreePermit(_) => true,
                _ => false,
            };
            assert!(has_reason, "permit {kind} left {holder} by {command:?}");
        }
    }
}

/// The same machine under the id of its new enrolment.
fn came_back(before: &State, old: &NodeId, new: Option<&NodeId>, command: &Command) -> bool {
    let approved = matches!(&command.verb, Verb::ApproveNode(approval) if Some(&approval.node) == new);
    approved && before.nodes.get(old).is_some_and(|node| !node.is_proven())
}

/// Role, pool and name freeze at admission; a key that was denied or confirmed does not come back.
fn check_placements(before: &State, after: &State) {
    for (id, node) in &after.nodes {
        let Some(was) = before.nodes.get(id) else { continue };
        if let Some(place) = was.placement() {
            assert_eq!(node.placement(), Some(place), "the placement of {id} has changed");
        }
        assert!(!was.identity.confirmed || node.identity.confirmed);
        let done = |node: &Node| node.steps.iter().filter(|step| step.state == StepState::Done).count();
        let joined = was.has_joined() && !node.has_joined();
        assert!(!joined, "{id} had joined with {} steps done and lost it", done(was));
    }
}
