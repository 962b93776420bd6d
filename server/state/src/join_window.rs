//! Join windows: the time in which control planes of a cluster may read `kubeadm-certs` under one certificate key.

use crate::{
    ClusterId, State,
    record::{BootstrapToken, Node, Role},
};

impl State {
    /// Somebody reads `kubeadm-certs` of that cluster now or soon: a control plane that joins or is about to, unless it gets its
    /// files directly, or one without an agent that was promised it.
    #[must_use]
    pub fn is_join_window_open(&self, cluster: &ClusterId, now_ms: u64) -> bool {
        let Some(record) = self.clusters.get(cluster) else { return false };
        now_ms < record.certificates_wanted_until_ms || self.nodes_of(cluster).any(|node| self.reads_certificates(node))
    }

    /// The token made for the node's coming attempt, unless it was ended.
    #[must_use]
    pub fn coming_token(&self, node: &Node) -> Option<&BootstrapToken> {
        let token = self.bootstrap_tokens.get(node.bootstrap_token.as_ref()?)?;
        token.state.is_wanted().then_some(token)
    }

    fn reads_certificates(&self, node: &Node) -> bool {
        let Some(place) = node.placement().filter(|place| place.role == Role::ControlPlane) else { return false };
        let pool = self.clusters.get(&place.cluster).and_then(|cluster| cluster.spec.pool(&place.pool));
        let joins = !node.steps.is_empty() && !node.has_joined();
        !pool.is_some_and(|pool| pool.certificates_direct)
            && (joins || (node.may_begin() && self.coming_token(node).is_some()))
    }
}
