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
        if node.preflight.is_none() {
            return Err(Refusal::not_found("preflight report of node", self.node));
        }
        let problem = limits::clip(&self.problem);
        let Some(node) = state.nodes.get_mut(&self.node) else { return Err(Refusal::not_found("node", self.node)) };
        let before = (node.preflight.clone(), node.preflight_judged, node.preflight_passed);
        let findings = node.preflight.as_mut().map(|report| &mut report.findings);
        let passed = findings.is_some_and(|findings| judge(findings, &problem));
        node.preflight_passed = passed;
        node.preflight_judged = self.revision;
        if before == (node.preflight.clone(), node.preflight_judged, node.preflight_passed) {
            // The same verdict once more: nobody needs to wake.
            return Ok(());
        }
        if passed {
            state.node_event(false, "PreflightPassed", "the machine is fit to join".into(), &self.node);
        } else {
            let why = if problem.is_empty() { "see its findings".into() } else { problem };
            state.node_event(true, "PreflightFailed", why, &self.node);
        }
        state.touch(&self.node);
        Ok(())
    }
}

/// Puts the server's own finding first and says whether nothing holds the machine back.
fn judge(findings: &mut Vec<Finding>, problem: &str) -> bool {
    findings.retain(|finding| finding.check != JUDGED);
    let is_fit = !findings.iter().any(|finding| finding.fatal);
    if problem.is_empty() {
        return is_fit;
    }
    findings.insert(0, Finding { check: JUDGED.into(), message: problem.to_owned(), fatal: true });
    false
}
