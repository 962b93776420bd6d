use serde::{Deserialize, Serialize};

use crate::{
    Digest, NodeId, Refusal, State,
    record::{Errand, ErrandState, StepState},
    state::Context,
};

/// Lets the secrets of one step go to one node, sealed to its key. Only after this has committed does a voter unseal;
/// it is the audit record too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The node.
    pub node: NodeId,
    /// Its attempt (0 for errands).
    pub attempt: u32,
    /// Step id.
    pub step: String,
    /// Fingerprint of the identity key that asks.
    pub key: Digest,
    /// SPIFFE id of the server that will send it.
    pub caller: String,
}

impl Release {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<(), Refusal> {
        let node = state.node(&self.node)?;
        let wrong = |problem: &str| Err(Refusal::WrongPhase { phase: node.phase, problem: problem.into() });
        if let Some(reason) = &node.locked {
            return Err(Refusal::Locked(reason.clone()));
        }
        if node.placement().is_none() {
            return wrong("it has not been admitted");
        }
        if node.identity.key != self.key {
            return Err(Refusal::SeenDiffers { what: "the identity key".into() });
        }
        let first = if let Some(number) = Errand::number_of(&self.step) {
            let errand = state.errands.get(&number).filter(|errand| {
                errand.custodian == self.node && errand.state == ErrandState::Open
            });
            if errand.is_none() {
                return wrong("that errand is not its own, or done");
            }
            let Some(errand) = state.errands.get_mut(&number) else { return Err(Refusal::not_found("errand", number)) };
            errand.released_to.replace(self.key) != Some(self.key)
        } else {
            let open = node.attempt == self.attempt
                && node.step(&self.step).is_some_and(|step| step.state != StepState::Done && state.may_run(node, step.verb));
            if !open {
                return wrong("that step is not open to it");
            }
            let Some(node) = state.nodes.get_mut(&self.node) else { return Err(Refusal::not_found("node", self.node)) };
            let Some(step) = node.steps.iter_mut().find(|step| step.verb.step_id() == self.step) else {
                return Err(Refusal::not_found("step", self.step));
            };
            step.released_to.replace(self.key) != Some(self.key)
        };
        if first {
            let message = format!("secrets of step {} (attempt {}) go to key {} by {}", self.step, self.attempt, self.key, self.caller);
            state.node_event(false, "SecretsReleased", message, &self.node);
        }
        Ok(())
    }
}
