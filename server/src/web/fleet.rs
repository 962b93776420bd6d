//! Figures taken from the replicated state, about once a second, by looking at it and remembering what was seen last.
//!
//! Every server sees the same state, so a dashboard takes the maximum over servers, not the sum.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::{counter, gauge, histogram};
use muster_state::record::{BootstrapTokenState, Node, PermitKind, Role, TokenStanding};
use muster_state::{NodeId, Phase, State};

use super::metrics as names;
use super::metrics::{count_figure, figure, role_word};

const ROLES: [Option<Role>; 3] = [Some(Role::ControlPlane), Some(Role::Worker), None];
const PERMITS: [PermitKind; 2] = [PermitKind::Init, PermitKind::EtcdJoin];
const TOKEN_STATES: [(BootstrapTokenState, &str); 4] = [
    (BootstrapTokenState::Minted, "minted"),
    (BootstrapTokenState::Present, "present"),
    (BootstrapTokenState::Ending, "ending"),
    (BootstrapTokenState::Deleted, "deleted"),
];

/// Turns the state into figures. Counters start with what happens after the first look.
#[derive(Debug, Default)]
pub struct FleetSampler {
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    event: u64,
    phases: BTreeMap<NodeId, Phase>,
}

impl FleetSampler {
    /// Looks once. Walks all nodes and tokens; the caller holds the state for as long.
    pub fn sample(&mut self, state: &State) {
        nodes(state);
        permits(state);
        tokens(state);
        certificates(state);
        if let Some(last) = &self.last {
            events(state, last.event);
            joins(state, &last.phases);
        }
        let phases = state.nodes.values().map(|node| (node.id.clone(), node.phase)).collect();
        self.last = Some(Last { event: state.last_event, phases });
    }
}

fn role_of(node: &Node) -> Option<Role> {
    node.placement().map(|placement| placement.role)
}

/// Sets every combination, so that a phase which has emptied goes to 0 instead of staying at its last figure.
fn nodes(state: &State) {
    let mut counts: BTreeMap<(Option<Role>, Phase), usize> = BTreeMap::new();
    for node in state.nodes.values() {
        *counts.entry((role_of(node), node.phase)).or_default() += 1;
    }
    for role in ROLES {
        for phase in Phase::ALL {
            let count = counts.get(&(role, phase)).copied().unwrap_or_default();
            gauge!(names::NODES, "role" => role_word(role), "phase" => phase.to_string()).set(count_figure(count));
        }
    }
}

fn permits(state: &State) {
    for kind in PERMITS {
        let held = state.clusters.values().filter(|cluster| cluster.permit(kind).holder.is_some()).count();
        gauge!(names::PERMITS_IN_USE, "kind" => kind.to_string()).set(count_figure(held));
    }
    let waiting = state.nodes.values().filter(|node| node.phase == Phase::WaitingForEtcdPermit).count();
    gauge!(names::PERMITS_WAITING, "kind" => PermitKind::EtcdJoin.to_string()).set(count_figure(waiting));
}

fn tokens(state: &State) {
    for (wanted, word) in TOKEN_STATES {
        let count = state.bootstrap_tokens.values().filter(|token| token.state == wanted).count();
        gauge!(names::BOOTSTRAP_TOKENS, "state" => word).set(count_figure(count));
    }
    let bootstrap =
        state.bootstrap_tokens.values().filter(|token| token.is_live(state.now_ms)).map(|token| token.expires_ms);
    let enrolment = state
        .enrolment_tokens
        .values()
        .filter(|token| token.standing(state.now_ms) == TokenStanding::Live)
        .map(|token| token.expires_ms);
    if let Some(next_ms) = bootstrap.chain(enrolment).min() {
        gauge!(names::TOKEN_NEXT_EXPIRY).set(seconds(next_ms));
    }
}

/// Names are kubeadm's file names (`ca.crt`, …), of which there are few; over all clusters, the first to run out counts.
fn certificates(state: &State) {
    let mut first: BTreeMap<&str, u64> = BTreeMap::new();
    for certificate in state.clusters.values().flat_map(|cluster| &cluster.certificates) {
        let end = first.entry(&certificate.name).or_insert(certificate.not_after_ms);
        *end = certificate.not_after_ms.min(*end);
    }
    for (name, not_after_ms) in first {
        gauge!(names::CERTIFICATE_EXPIRY, "name" => name.to_owned()).set(seconds(not_after_ms));
    }
}

/// Reasons are words of the state's own code, a closed set.
fn events(state: &State, seen: u64) {
    for event in state.events.iter().rev().take_while(|event| event.sequence > seen) {
        let kind = if event.warning { "Warning" } else { "Normal" };
        counter!(names::EVENTS, "type" => kind, "reason" => event.reason.clone()).increment(1);
    }
}

fn joins(state: &State, before: &BTreeMap<NodeId, Phase>) {
    for node in state.nodes.values() {
        if before.get(&node.id) == Some(&node.phase) {
            continue;
        }
        let role = role_word(role_of(node));
        match node.phase {
            Phase::Ready if is_first(node) => {
                counter!(names::JOINS, "role" => role, "result" => "ready").increment(1);
                durations(node, role);
            }
            Phase::Failed => counter!(names::JOINS, "role" => role, "result" => "failed").increment(1),
            _ => {}
        }
    }
}

/// A node whose API says NotReady for a while does not join again.
fn is_first(node: &Node) -> bool {
    let since = node.timeline.iter().rposition(|entry| entry.phase == Phase::Approved).unwrap_or_default();
    node.timeline[since..].iter().filter(|entry| entry.phase == Phase::Ready).count() == 1
}

/// From the last admission on: a node that joins again is measured anew.
fn durations(node: &Node, role: &'static str) {
    let Some(admitted) = node.timeline.iter().rposition(|entry| entry.phase == Phase::Approved) else { return };
    let since = &node.timeline[admitted..];
    for pair in since.windows(2) {
        let spent = Duration::from_millis(pair[1].at_ms.saturating_sub(pair[0].at_ms));
        let phase = pair[0].phase.to_string();
        histogram!(names::JOIN_PHASE_DURATION, "role" => role, "phase" => phase).record(spent.as_secs_f64());
    }
    if let (Some(first), Some(last)) = (since.first(), since.last()) {
        let whole = Duration::from_millis(last.at_ms.saturating_sub(first.at_ms));
        histogram!(names::JOIN_DURATION, "role" => role).record(whole.as_secs_f64());
    }
}

fn seconds(milliseconds: u64) -> f64 {
    figure(milliseconds) / 1000.0
}
