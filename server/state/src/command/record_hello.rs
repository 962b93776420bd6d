use serde::{Deserialize, Serialize};

use super::confirm_identity::confirm;
use crate::{Digest, NodeId, Refusal, State, facts::{Facts, Preflight}, limits, record::Attachment, state::Context};

/// A node's agent has attached: what it is and what its machine looks like now. With a key it confirms the node's identity
/// first, as [`super::ConfirmIdentity`] does, so that to attach is one command; if that locks the node, nothing else is recorded.
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
    /// The stream by which it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<Attachment>,
    /// SHA-256 of the SPKI of the key it holds, when its stream begins; absent for what it says later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
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
        if let Some(key) = &self.key {
            confirm(state, &self.node, key)?;
            if state.node(&self.node)?.locked.is_some() {
                return Ok(());
            }
        }
        let node = state.node(&self.node)?;
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
        // A report that was under way on an earlier stream when the agent came again says nothing of where it is.
        let is_newest = |stream: &Attachment| node.attached.is_none_or(|at| !stream.is_older_than(&at));
        if let Some(stream) = self.stream.filter(is_newest) {
            node.attached = Some(stream);
        }
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
