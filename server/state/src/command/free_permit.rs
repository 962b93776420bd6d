use serde::{Deserialize, Serialize};

use super::grant_permit::drop_etcd_lists;
use crate::{ClusterId, NodeId, Refusal, State, limits, record::{PermitKind, StepState, Verb}, state::Context};

/// Takes a permit from its holder by an operator's word: for a machine that is gone and of which no evidence will
/// come. Names the holder that the operator saw. What it does on its machine is not stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreePermit {
    /// Where.
    pub cluster: ClusterId,
    /// Which permit.
    pub kind: PermitKind,
    /// Who was seen to hold it.
    pub holder: NodeId,
    /// Why; kept in the events.
    pub reason: String,
}

impl FreePermit {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<(), Refusal> {
        let cluster = state.cluster(&self.cluster)?;
        if cluster.permit(self.kind).holder.as_ref() != Some(&self.holder) {
            return Err(Refusal::SeenDiffers { what: format!("the holder of permit {}", self.kind) });
        }
        if self.kind == PermitKind::Init && cluster.initialised {
            let problem = "init has succeeded, so it never moves".into();
            return Err(Refusal::NoEvidence { kind: self.kind.to_string(), problem });
        }
        let record = state.clusters.get_mut(&self.cluster);
        if let Some(permit) = record.and_then(|record| record.permits.get_mut(&self.kind)) {
            permit.holder = None;
            permit.evidence_wanted = false;
        }
        drop_etcd_lists(state, &self.holder);
        if self.kind == PermitKind::Init {
            withdraw_init(state, &self.holder);
        }
        let reason = if self.reason.is_empty() { "no reason given" } else { &self.reason };
        let text = format!("permit {} was taken from {} by an operator: {}", self.kind, self.holder, limits::clip(reason));
        state.event(true, "PermitFreed", text, Some(self.cluster.clone()), Some(self.holder.clone()));
        state.touch(&self.holder);
        state.refresh_cluster(&self.cluster);
        Ok(())
    }
}

/// An init that has not begun is taken back: its cluster will have been initialised by another, and a node that waits
/// for a permit that never comes would be stuck. One that runs ends by its report.
fn withdraw_init(state: &mut State, holder: &NodeId) {
    let Some(node) = state.nodes.get_mut(holder) else { return };
    if node.current_step().is_some_and(|step| step.verb == Verb::Init && step.state == StepState::Waiting) {
        node.steps.clear();
    }
}
