//! Pure planning: from state, time and who is attached to what should be proposed. Running a plan twice is harmless:
//! every verb checks again when it is applied.

mod errands;
mod init;
mod join;
mod permits;
mod preflight;
mod requests;

use std::collections::BTreeSet;

use muster_state::{
    ClusterId, NodeId, State,
    command::{DropEtcdLearner, GrantPermit, Instruct, JudgePreflight, OpenErrand, RetryNode, Sweep},
};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Planned {
    /// Pass judgement on a preflight report.
    Judge(JudgePreflight),
    /// Pass a permit on.
    Grant(GrantPermit),
    /// Take out what a failed join left in etcd.
    DropLearner(DropEtcdLearner),
    /// Start a node's attempt.
    Instruct(Instruct),
    /// Let a failed node try again.
    Retry(RetryNode),
    /// Give a custodian something to do.
    Errand(OpenErrand),
    /// End what time has ended.
    Sweep(Sweep),
    /// Mint a bootstrap token for a node. Minting needs randomness and the sealer, so it is not a verb.
    Mint {
        /// Where.
        cluster: ClusterId,
        /// For whom.
        node: NodeId,
    },
}

/// What the planner may look at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The replicated truth.
    pub state: &'a State,
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// Nodes with a stream to this server.
    pub attached: &'a BTreeSet<NodeId>,
}

/// All that should be proposed now, in order.
pub fn plan(view: View<'_>) -> Vec<Planned> {
    let mut planned = Vec::new();
    if Sweep::is_due(view.state, view.now_ms) {
        planned.push(Planned::Sweep(Sweep {}));
    }
    planned.extend(retries(view));
    planned.extend(preflight::plan(view));
    for cluster in view.state.clusters.values() {
        planned.extend(init::plan(view, cluster));
        planned.extend(join::plan(view, cluster));
        planned.extend(permits::plan(view, cluster));
        planned.extend(errands::plan(view, cluster));
    }
    planned
}

fn retries(view: View<'_>) -> impl Iterator<Item = Planned> {
    view.state.nodes.values().filter_map(move |node| {
        let due =
            node.failure.as_ref().is_some_and(|failure| failure.retry_at_ms != 0 && view.now_ms >= failure.retry_at_ms);
        let ready = due && node.locked.is_none() && node.is_proven() && node.has_stopped();
        ready.then(|| Planned::Retry(RetryNode { node: node.id.clone(), automatic: true }))
    })
}

#[cfg(test)]
mod tests;
