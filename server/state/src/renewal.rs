//! Bootstrap tokens that would run out before the node that needs them is through.

use crate::{
    ClusterId, State, TokenId, limits,
    record::{BootstrapToken, BootstrapTokenState, Node},
};

impl State {
    /// Tokens of a cluster in whose Secrets a later end has to be written: their node, which is there, waits or joins, and they
    /// run out before the slowest join is through; or the log has given them a later end already, and the Secret has not.
    pub fn tokens_to_renew<'a>(
        &'a self,
        cluster: &'a ClusterId,
        now_ms: u64,
        is_there: impl Fn(&Node) -> bool + 'a,
    ) -> impl Iterator<Item = &'a TokenId> {
        let live =
            self.bootstrap_tokens.values().filter(move |token| token.cluster == *cluster && token.is_live(now_ms));
        let due = live.filter(move |token| {
            let left_ms = token.expires_ms.saturating_sub(now_ms);
            let runs_out = left_ms < limits::JOIN_TAKES_MS.min(token.ttl_ms / 2);
            // What is gone from the cluster is not to be had by replacing it.
            token.differs.is_none() && (token.renewal_ms != 0 || (runs_out && self.is_needed(token, &is_there)))
        });
        due.map(|token| &token.id)
    }

    fn is_needed(&self, token: &BootstrapToken, is_there: impl Fn(&Node) -> bool) -> bool {
        let node = token.purpose.node().and_then(|id| self.nodes.get(id));
        let node = node.filter(|node| node.bootstrap_token.as_ref() == Some(&token.id) && is_there(node));
        node.is_some_and(|node| {
            let joins = !node.steps.is_empty() && !node.has_joined() && !node.has_stopped();
            node.may_begin() || (joins && node.locked.is_none() && node.is_proven())
        })
    }
}

impl BootstrapToken {
    /// The end that its Secret is to have.
    #[must_use]
    pub fn written_end_ms(&self) -> u64 {
        if self.renewal_ms == 0 { self.expires_ms } else { self.renewal_ms }
    }

    /// Its Secret is about to get a later end.
    pub(crate) fn begin_renewal(&mut self, now_ms: u64) {
        if self.is_live(now_ms) {
            self.renewal_ms = now_ms.saturating_add(self.ttl_ms);
        }
    }

    /// Its Secret has it.
    pub(crate) fn end_renewal(&mut self) {
        if self.state == BootstrapTokenState::Present && self.renewal_ms != 0 {
            self.expires_ms = std::mem::take(&mut self.renewal_ms);
        }
    }
}
