//! When a custodian looks for certificate requests of its detached cluster, and when it answers them.

use muster_state::{
    Phase, limits,
    record::{BootstrapToken, Cluster, ErrandKind, Node, StepState},
};

use super::View;

/// While nodes join: kubelets wait for the answer.
const JOINING_MS: u64 = 2_000;
/// While kubelets may ask for the certificates of their servers, or a printed join line may be used.
const EXPECTING_MS: u64 = 10_000;
/// While nobody joins, for renewals: a kubelet waits for a quarter of an hour, and asks again.
const IDLE_MS: u64 = 120_000;
/// A Node that is not Ready after this is not waited for more eagerly than any other: it may lack a network for ever.
const COMING_UP_MS: u64 = 15 * 60_000;

pub(super) fn plan(view: View<'_>, cluster: &Cluster) -> Option<ErrandKind> {
    let is_custodians = cluster.spec.link.is_none() && cluster.spec.csr_approval().is_musters();
    if !is_custodians || !cluster.initialised {
        return None;
    }
    let verdicts: Vec<_> =
        view.state.verdicts_due(&cluster.id).iter().take(limits::REQUESTS_CONCLUDED_MAX).cloned().collect();
    if !verdicts.is_empty() {
        return Some(ErrandKind::ConcludeRequests(verdicts));
    }
    let known = cluster.custody.iter();
    look_is_due(view, cluster).then(|| ErrandKind::ObserveRequests {
        passed_over: known.clone().flat_map(|custody| &custody.passed_over).cloned().collect(),
        nodes: known.flat_map(|custody| &custody.nodes).cloned().collect(),
    })
}

fn look_is_due(view: View<'_>, cluster: &Cluster) -> bool {
    let Some(custody) = &cluster.custody else { return true };
    let is_joining = |node: &Node| view.attached.contains(&node.id) && runs_its_join(node);
    let pause = if !custody.nodes.is_empty() {
        0
    } else if custody.more || view.state.nodes_of(&cluster.id).any(is_joining) || a_line_is_held(view, cluster) {
        JOINING_MS
    } else if view.state.nodes_of(&cluster.id).any(|node| is_coming_up(view, node)) || a_line_works(view, cluster) {
        EXPECTING_MS
    } else {
        IDLE_MS
    };
    view.now_ms >= custody.looked_ms.saturating_add(pause)
}

/// Not while it waits for a permit or a person: that may last for ever.
fn runs_its_join(node: &Node) -> bool {
    node.current_step().is_some_and(|step| step.verb.makes_member() && step.state == StepState::Running)
}

/// Its kubelet runs, and asks for the certificate of its server within moments of its registration.
fn is_coming_up(view: View<'_>, node: &Node) -> bool {
    let within_ms = match node.phase {
        Phase::WaitingForNodeReady => COMING_UP_MS,
        Phase::Ready => IDLE_MS,
        _ => return false,
    };
    let since_ms = node.timeline.last().map_or(0, |entry| entry.at_ms);
    view.now_ms.saturating_sub(since_ms) < within_ms
}

fn a_line_is_held(view: View<'_>, cluster: &Cluster) -> bool {
    let mut tokens = view.state.bootstrap_tokens.values().filter(|token| token.cluster == cluster.id);
    tokens.any(|token| token.purpose.line_name().is_some() && view.state.holds_for(token))
}

fn a_line_works(view: View<'_>, cluster: &Cluster) -> bool {
    let mut tokens = view.state.bootstrap_tokens.values().filter(|token| token.cluster == cluster.id);
    // That of `kubeadm init` is not printed.
    let is_printed =
        |token: &BootstrapToken| token.purpose.line_role().is_some() && cluster.first_token.as_ref() != Some(&token.id);
    tokens.any(|token| is_printed(token) && token.is_live(view.now_ms))
}
