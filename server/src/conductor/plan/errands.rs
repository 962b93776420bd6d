//! What custodians have to do: make tokens known, delete them, keep `kubeadm-certs` alive.

use muster_state::{
    NodeId, TokenId,
    command::OpenErrand,
    limits,
    record::{BootstrapTokenState, Cluster, ErrandKind, Node},
};

use super::{Planned, View, requests};

pub(super) fn plan(view: View<'_>, cluster: &Cluster) -> Vec<Planned> {
    let Some(custodian) = custodian(view, cluster) else { return Vec::new() };
    let free = |kind: &ErrandKind| view.state.errand_in_the_way(&cluster.id, kind, &custodian, view.now_ms).is_none();
    let tokens = |state, kind: fn(Vec<TokenId>) -> ErrandKind| {
        let waiting = tokens_in(view, cluster, state)
            .chain(to_renew(view, cluster, state))
            .filter(|id| free(&kind(vec![id.clone()])));
        let tokens: Vec<TokenId> = waiting.take(limits::ERRAND_TOKENS_MAX).collect();
        (!tokens.is_empty()).then(|| kind(tokens))
    };
    // Where the leader makes tokens through its link, no custodian sees them.
    let tokens = |state, kind| if cluster.spec.secrets_by_custodian() { tokens(state, kind) } else { None };
    let kinds = [
        tokens(BootstrapTokenState::Minted, ErrandKind::ApplyTokens),
        tokens(BootstrapTokenState::Ending, ErrandKind::DeleteTokens),
        upload_is_due(view, cluster).then_some(ErrandKind::UploadCertificates).filter(free),
        requests::plan(view, cluster).filter(free),
    ];
    let errand = |kind| Planned::Errand(OpenErrand { cluster: cluster.id.clone(), kind, custodian: custodian.clone() });
    kinds.into_iter().flatten().map(errand).collect()
}

/// The joined control plane that acts: of those attached, the one that left the fewest errands undone.
pub(super) fn custodian(view: View<'_>, cluster: &Cluster) -> Option<NodeId> {
    let attached = view.state.custodians(&cluster.id).filter(|node| view.attached.contains(&node.id));
    attached.min_by_key(|node| (node.missed_errands, &node.id)).map(|node| node.id.clone())
}

/// Tokens of a cluster in that state; the first one is made by `kubeadm init` itself.
fn tokens_in<'a>(
    view: View<'a>,
    cluster: &'a Cluster,
    state: BootstrapTokenState,
) -> impl Iterator<Item = TokenId> + use<'a> {
    let of_cluster = view.state.bootstrap_tokens.values().filter(|token| token.cluster == cluster.id);
    let is_own = move |id: &TokenId| state != BootstrapTokenState::Minted || cluster.first_token.as_ref() != Some(id);
    of_cluster.filter(move |token| token.state == state).map(|token| token.id.clone()).filter(is_own)
}

/// Those that are there and would run out before their node is through: applied again, with a later end.
fn to_renew<'a>(
    view: View<'a>,
    cluster: &'a Cluster,
    state: BootstrapTokenState,
) -> impl Iterator<Item = TokenId> + use<'a> {
    let is_there = move |node: &Node| view.attached.contains(&node.id);
    let due = view.state.tokens_to_renew(&cluster.id, view.now_ms, is_there);
    due.filter(move |_| state == BootstrapTokenState::Minted).cloned()
}

/// Through a link the leader uploads it itself.
fn upload_is_due(view: View<'_>, cluster: &Cluster) -> bool {
    let is_stale = view.now_ms.saturating_sub(cluster.certificates_uploaded_ms) >= limits::CERTIFICATES_FRESH_MS;
    is_stale && cluster.spec.secrets_by_custodian() && view.state.is_join_window_open(&cluster.id, view.now_ms)
}
