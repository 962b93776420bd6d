use serde::{Deserialize, Serialize};

use crate::{NodeId, Refusal, State, facts::{Facts, Preflight}, limits, state::Context};

/// A node's agent has attached: what it is and what its machine looks like now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordHello {
    /// The node.
    pub node: NodeId,
    /// Which boot.
    pub boot_id: String,
    /// Version of the agent.
    pub agent_version: String,
    /// What it claims.
    pub facts: Facts,
    /// What it found.
    pub preflight: Preflight,
    /// It only rehearses.
    pub rehearsed: bool,
}

impl RecordHello {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        let node = state.node(&self.node)?;
        if let Some(reason) = &node.locked {
            return Err(Refusal::Locked(reason.clone()));
        }
        if node.placement().is_none() {
            return Err(Refusal::WrongPhase { phase: node.phase, problem: "it has not been admitted".into() });
        }
        let (facts, preflight) = (self.facts.bounded(), self.preflight.bounded());
        if node.facts != facts {
            state.change_node(&self.node, |node| {
                node.facts = facts;
                node.facts_revision += 1;
            })?;
        }
        let Some(node) = state.nodes.get_mut(&self.node) else { return Err(Refusal::not_found("node", self.node)) };
        let boot_id = limits::clip_to(&self.boot_id, limits::CLAIM_MAX);
        let rebooted = !node.boot_id.is_empty() && node.boot_id != boot_id;
        node.boot_id = boot_id;
        node.agent_version = limits::clip_to(&self.agent_version, limits::CLAIM_MAX);
        node.rehearsed = self.rehearsed;
        node.last_seen_ms = context.now_ms;
        node.missed_errands = 0;
        if node.preflight.as_ref().map(comparable) != Some(comparable(&preflight)) {
            node.preflight_revision += 1;
            // While an attempt is under way the machine changes under our own hands; judged again before the next.
            node.preflight_passed = node.preflight_passed && !node.steps.is_empty();
            node.preflight = Some(preflight);
        }
        if rebooted {
            state.node_event(false, "NodeRebooted", "the machine has rebooted".into(), &self.node);
        }
        state.touch(&self.node);
        Ok(())
    }
}

/// The report without what differs every time.
fn comparable(report: &Preflight) -> Preflight {
    // Offsets below a minute harm nobody; larger ones are findings.
    let clock_offset_ms = report.clock_offset_ms / 60_000;
    let findings = report.findings.iter().filter(|finding| finding.check != super::judge_preflight::JUDGED).cloned().collect();
    Preflight { clock_offset_ms, findings, ..report.clone() }
}
