use super::{At, succeeded::settle_etcd_permit};
use crate::{
    ClusterId, State,
    command::lock_node::recall_approvals,
    failure::{Rule, backoff_ms, rule_for},
    limits,
    record::{Hold, JudgedRequest, LastFailure, Node, PermitKind, Placement, Role, StepState, Verb},
};

/// What the agent says of a failure.
pub(super) struct Failure<'a> {
    pub(super) cause: &'a str,
    pub(super) message: &'a str,
    pub(super) clean: bool,
}

/// A step failed: notes it with what follows, and ends the attempt unless the machine has joined already.
pub(super) fn apply(state: &mut State, at: &At<'_>, failure: Failure<'_>) {
    let Some(node) = state.nodes.get_mut(at.node) else { return };
    node.failures = node.failures.saturating_add(1);
    node.last_seen_ms = at.now_ms;
    let noted = noted(at, &failure, node.failures);
    let text = format!("{} in step {}: {}", noted.cause, noted.step, noted.message);
    node.failure = Some(noted);
    let place = node.placement().cloned();
    if at.verb.follows_join() {
        let step = &mut node.steps[at.index];
        (step.state, step.finished_ms, step.elapsed_ms) = (StepState::Failed, at.now_ms, at.elapsed_ms);
        return state.node_event(true, "StepFailed", text, at.node);
    }
    let needs_etcd = node.steps.iter().any(|step| step.verb.permit() == Some(PermitKind::EtcdJoin));
    forget_attempt(node);
    let doubtful = doubtful(node);
    let token = node.bootstrap_token.take();
    token.iter().for_each(|token| state.end_bootstrap_token(token));
    recall_approvals(state, at.node);
    state.node_event(true, "StepFailed", text, at.node);
    doubtful.into_iter().for_each(|text| state.node_event(true, "CertificateDoubted", text, at.node));
    // A worker that failed concerns nobody else.
    let Some(Placement { cluster, .. }) = place.filter(|place| place.role == Role::ControlPlane) else { return };
    if needs_etcd {
        settle_etcd_permit(state, &cluster, at.node, false, failure.clean);
    }
    if failure.clean {
        free_init_permit(state, &cluster, at);
    }
    state.refresh_cluster(&cluster);
}

/// Its request was the only one that came with its token, and it has not joined: perhaps it was not its own, and that of its kubelet
/// came too late.
fn doubtful(node: &Node) -> Option<String> {
    let token = node.bootstrap_token.as_ref()?;
    let is_it = |seen: &&JudgedRequest| seen.token.as_ref() == Some(token) && seen.approved && seen.hold == Hold::Passed;
    let seen = node.requests.iter().find(is_it)?;
    Some(format!(
        "certificate request {} (uid {}, {}) was approved, and the join that it was for has failed: look whether the machine has that \
         certificate, in /var/lib/kubelet/pki; if it has not, somebody else has, in the name of this node",
        seen.name, seen.uid, seen.digest
    ))
}

fn noted(at: &At<'_>, failure: &Failure<'_>, count: u32) -> LastFailure {
    // What comes after the join is tried again as it is: a member must never be reset for it. And a Node that is not
    // Ready is waited for without end.
    let rule = if count >= limits::ATTEMPTS_MAX && at.verb != Verb::WaitReady {
        Rule::StopAndAsk
    } else if at.verb.follows_join() {
        Rule::RetryAsIs
    } else {
        rule_for(failure.cause, failure.clean)
    };
    let retry_at_ms = if rule == Rule::StopAndAsk { 0 } else { at.now_ms.saturating_add(backoff_ms(count)) };
    LastFailure {
        step: at.verb.step_id().to_owned(),
        cause: limits::clip_to(failure.cause, limits::CLAIM_MAX),
        message: limits::clip(failure.message),
        rule,
        count,
        at_ms: at.now_ms,
        retry_at_ms,
    }
}

fn forget_attempt(node: &mut Node) {
    node.steps.clear();
    node.observation = None;
    // The next attempt is judged again.
    node.preflight_passed = false;
    node.preflight_judged = 0;
}

/// A reported reset is what lets init move on; without it only an operator does.
fn free_init_permit(state: &mut State, cluster: &ClusterId, at: &At<'_>) {
    let record = state.clusters.get_mut(cluster).filter(|record| !record.initialised);
    let permit = record.and_then(|record| record.permits.get_mut(&PermitKind::Init));
    if let Some(permit) = permit.filter(|permit| permit.holder.as_ref() == Some(at.node)) {
        permit.holder = None;
        state.node_event(false, "PermitReleased", "the machine was reset before init had succeeded".into(), at.node);
    }
}
