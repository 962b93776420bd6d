use serde::{Deserialize, Serialize};

use crate::{NodeId, Refusal, State, facts::Finding, limits, state::Context};

/// The check under which the server's own verdict is shown.
pub(super) const JUDGED: &str = "Server";

/// The verdict on a preflight report: nothing secret leaves for a node before it passes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgePreflight {
    /// The node.
    pub node: NodeId,
    /// The report that was judged.
    pub revision: u64,
    /// What holds the node back beyond its own findings (version skew, clock); empty: nothing.
    pub problem: String,
}

impl JudgePreflight {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<(), Refusal> {
        let node = state.node(&self.node)?;
        if node.preflight_revision != self.revision {
            return Err(Refusal::SeenDiffers { what: "the preflight report".into() });
        }
        let Some(node) = state.nodes.get_mut(&self.node) else { return Err(Refusal::not_found("node", self.node)) };
        let Some(report) = node.preflight.as_mut() else { return Err(Refusal::not_found("preflight report of node", self.node)) };
        report.findings.retain(|finding| finding.check != JUDGED);
        let fatal = report.findings.iter().any(|finding| finding.fatal);
        if !self.problem.is_empty() {
            let message = limits::clip(&self.problem);
            report.findings.insert(0, Finding { check: JUDGED.into(), message, fatal: true });
        }
        let passed = self.problem.is_empty() && !fatal;
        node.preflight_passed = passed;
        if passed {
            state.node_event(false, "PreflightPassed", "the machine is fit to join".into(), &self.node);
        } else {
            let why = if self.problem.is_empty() { "see its findings".into() } else { self.problem };
            state.node_event(true, "PreflightFailed", why, &self.node);
        }
        state.touch(&self.node);
        Ok(())
    }
}
