//! Machines as operators see them. Nothing here is secret: of tokens there is the public part, of keys the fingerprint.

use muster_proto::admin::v1::{JudgedRequest, LastFailure as WireFailure, Node as Wire, PhaseTime, StepStatus};
use muster_state::{
    ClusterId, Digest, Phase, State,
    record::{self, ClusterSpec, LastFailure, Node, Role, Standing, Step, StepState},
};

use super::{facts, preflight, time::timestamp};
use crate::operations::OperationError;

/// Who says that a node of a detached cluster is Ready: its own agent.
const AGENT_REPORTED: &str = "agent-reported";
/// Who says so of a linked cluster's: its API.
const API_REPORTED: &str = "api-reported";
/// What every fingerprint begins with.
const SHA256: &str = "sha256:";

/// A machine as it is shown.
pub fn render(state: &State, node: &Node) -> Wire {
    let place = Place::of(state, node);
    Wire {
        id: node.id.to_string(),
        name: node.placement().map(|placement| placement.name.to_string()).unwrap_or_default(),
        cluster: place.spec.map(|spec| spec.name.clone()).unwrap_or_default(),
        pool: place.pool.to_owned(),
        role: place.role.map(|role| role.to_string()).unwrap_or_default(),
        phase: node.phase.to_string(),
        message: node.message.clone(),
        phase_since: timestamp(node.timeline.last().map_or(node.created_ms, |entry| entry.at_ms)),
        assurance: node.placement().map(|placement| format!("{:?}", placement.assurance)).unwrap_or_default(),
        key_fingerprint: if node.is_proven() { node.identity.key.to_string() } else { String::new() },
        facts_revision: node.facts_revision,
        facts: Some(facts::render(&node.facts)),
        preflight: node.preflight.as_ref().map(preflight::render),
        connected: node.attached.is_some(),
        rehearsed: node.rehearsed,
        locked: node.locked.is_some(),
        attempt: node.attempt,
        steps: node.steps.iter().map(|one| step(state, node, one)).collect(),
        failure: node.failure.as_ref().map(failure),
        bootstrap_token_id: node.bootstrap_token.as_ref().map(ToString::to_string).unwrap_or_default(),
        certificate_not_after: node.identity.certificate.as_ref().and_then(|issued| timestamp(issued.not_after_ms)),
        created: timestamp(node.created_ms),
        last_seen: timestamp(node.last_seen_ms),
        agent_version: node.agent_version.clone(),
        boot_id: node.boot_id.clone(),
        ready_source: ready_source(node).into(),
        next: next(state, node),
        generation: node.identity.generation,
        timeline: timeline(node),
        node_uid: node_uid(node),
        requests: node.requests.iter().map(|request| judged(state, request)).collect(),
    }
}

/// Where a machine belongs or, while an operator still has to decide, where it would go. A name is shown only once it is
/// frozen: until then it rests on claims.
#[derive(Default)]
struct Place<'a> {
    spec: Option<&'a ClusterSpec>,
    pool: &'a str,
    role: Option<Role>,
}

impl<'a> Place<'a> {
    fn of(state: &'a State, node: &'a Node) -> Self {
        let spec = |cluster| state.clusters.get(cluster).map(|cluster| &cluster.spec);
        match &node.standing {
            Standing::Admitted(placement) => {
                Self { spec: spec(&placement.cluster), pool: &placement.pool, role: Some(placement.role) }
            }
            Standing::Pending { suggested: Some(suggested), .. } => {
                let spec = spec(&suggested.cluster);
                let pool = spec.and_then(|spec| spec.pool(&suggested.pool));
                Self { spec, pool: &suggested.pool, role: pool.map(|pool| pool.role) }
            }
            Standing::Pending { suggested: None, .. } | Standing::Denied(_) => Self::default(),
        }
    }
}

/// The cluster a machine belongs to or, while an operator still has to decide, would go to.
pub fn cluster_of(node: &Node) -> Option<&ClusterId> {
    match &node.standing {
        Standing::Admitted(placement) => Some(&placement.cluster),
        Standing::Pending { suggested, .. } => suggested.as_ref().map(|to| &to.cluster),
        Standing::Denied(_) => None,
    }
}

fn step(state: &State, node: &Node, step: &Step) -> StepStatus {
    let is_current = node.current_step().is_some_and(|current| current.verb == step.verb);
    let word = match step.state {
        StepState::Waiting if is_current && node.locked.is_none() && state.may_run(node, step.verb) => "Open",
        StepState::Waiting => "Waiting",
        StepState::Running => "Running",
        StepState::Done => "Done",
        StepState::Failed => "Failed",
    };
    StepStatus {
        id: step.verb.step_id().into(),
        state: word.into(),
        phase: step.phase.clone(),
        elapsed_ms: step.elapsed_ms,
        started: timestamp(step.started_ms),
        finished: timestamp(step.finished_ms),
    }
}

/// Whose word it is that a node is Ready, or is not any more.
fn ready_source(node: &Node) -> &'static str {
    match (node.phase, &node.api) {
        (Phase::Ready | Phase::WaitingForNodeReady, Some(_)) => API_REPORTED,
        (Phase::Ready, None) => AGENT_REPORTED,
        _ => "",
    }
}

fn node_uid(node: &Node) -> String {
    let seen = node.api.as_ref().and_then(|witnessed| witnessed.node.as_ref());
    seen.map(|seen| seen.uid.clone()).unwrap_or_default()
}

fn judged(state: &State, request: &record::JudgedRequest) -> JudgedRequest {
    let held = request.hold.is_on();
    let token = request.token.as_ref().filter(|_| held).and_then(|token| state.bootstrap_tokens.get(token));
    JudgedRequest {
        held,
        held_until: token.and_then(|token| timestamp(token.forgotten_at_ms()?)),
        name: request.name.clone(),
        uid: request.uid.clone(),
        digest: request.digest.to_string(),
        bootstrap_token_id: request.token.as_ref().map(ToString::to_string).unwrap_or_default(),
        approved: request.approved,
        at: timestamp(request.at_ms),
    }
}

fn failure(failure: &LastFailure) -> WireFailure {
    WireFailure {
        step: failure.step.clone(),
        cause: failure.cause.clone(),
        message: failure.message.clone(),
        rule: format!("{:?}", failure.rule),
        failures: failure.count,
        at: timestamp(failure.at_ms),
        retry_at: timestamp(failure.retry_at_ms),
    }
}

fn timeline(node: &Node) -> Vec<PhaseTime> {
    let left = node.timeline.iter().skip(1).map(|next| next.at_ms).chain([0]);
    let phases = node.timeline.iter().zip(left).map(|(entry, left_unix_ms)| PhaseTime {
        phase: entry.phase.to_string(),
        entered_unix_ms: entry.at_ms,
        left_unix_ms,
    });
    phases.collect()
}

/// The one command that moves it on. It is pasted into shells, so nothing that a machine claims is in it.
fn next(state: &State, node: &Node) -> String {
    let stopped = node.failure.as_ref().is_some_and(|failure| failure.retry_at_ms == 0);
    match node.phase {
        Phase::Locked => format!("muster node unlock {}", node.id),
        // Its machine has to enrol anew; the entry that it then has is the one to approve.
        Phase::PendingApproval if !node.is_proven() => String::new(),
        Phase::PendingApproval => {
            let replace = if is_conflict(node) { " --replace" } else { "" };
            let to = destination(state, node);
            format!("muster node approve {} --fingerprint {}{to}{replace}", node.id, node.identity.key)
        }
        Phase::Failed if stopped => format!("muster node retry {}", node.id),
        Phase::Failed
        | Phase::Discovered
        | Phase::Denied
        | Phase::Approved
        | Phase::Preflight
        | Phase::WaitingForInit
        | Phase::Initialising
        | Phase::WaitingForCustodian
        | Phase::Preparing
        | Phase::WaitingForEtcdPermit
        | Phase::JoiningEtcd
        | Phase::Joining
        | Phase::WaitingForNodeReady
        | Phase::Ready => String::new(),
    }
}

/// Hardware of the same marks is here already: approving it is a planned re-join.
fn is_conflict(node: &Node) -> bool {
    matches!(&node.standing, Standing::Pending { conflict: Some(_), .. })
}

/// Where an approval puts it, spelled out; capitals where the operator has to choose.
fn destination(state: &State, node: &Node) -> String {
    if let Standing::Pending { suggested: Some(to), .. } = &node.standing
        && let Some(cluster) = state.clusters.get(&to.cluster)
    {
        let name = to.name.as_ref().map(|name| format!(" --name {name}")).unwrap_or_default();
        return format!(" --cluster {} --pool {}{name}", cluster.spec.name, to.pool);
    }
    let mut clusters = state.clusters.values();
    match (clusters.next(), clusters.next()) {
        (Some(only), None) if only.spec.pools.len() == 1 => String::new(),
        (Some(_), None) => " --pool POOL".into(),
        _ => " --cluster CLUSTER --pool POOL".into(),
    }
}

/// A fingerprint as operators type or paste it: `sha256:` and 64 hexadecimal digits.
pub fn parse_fingerprint(field: &str, text: &str) -> Result<Digest, OperationError> {
    let mut digest = [0; 32];
    let decoded = text.trim().strip_prefix(SHA256).map(|digits| hex::decode_to_slice(digits, &mut digest));
    match decoded {
        Some(Ok(())) => Ok(Digest(digest)),
        Some(Err(_)) | None => {
            let problem =
                "is no fingerprint: it reads sha256: and 64 hexadecimal digits, as the machine's console shows it";
            Err(OperationError::invalid(field, problem))
        }
    }
}

/// The phase a word means, in any case of its letters.
pub fn parse_phase(field: &str, text: &str) -> Result<Phase, OperationError> {
    let found = Phase::ALL.into_iter().find(|phase| phase.to_string().eq_ignore_ascii_case(text));
    found.ok_or_else(|| {
        let known: Vec<String> = Phase::ALL.iter().map(ToString::to_string).collect();
        OperationError::invalid(field, format!("{text:?} is no phase; it is one of {}", known.join(", ")))
    })
}

#[cfg(test)]
mod tests;
