use serde::{Deserialize, Serialize};

use crate::{
    NodeId, Refusal, State, TokenId,
    record::{BootstrapTokenState, PermitKind, Purpose, Role, Step, Verb},
    state::Context,
};

/// Starts a node's next attempt with these steps. Replies with its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instruct {
    /// The node.
    pub node: NodeId,
    /// In order.
    pub steps: Vec<Verb>,
    /// The bootstrap token made for it; absent for the first control plane.
    pub token: Option<TokenId>,
}

impl Instruct {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<u32, Refusal> {
        let node = state.node(&self.node)?;
        let wrong = |problem: &str| Err(Refusal::WrongPhase { phase: node.phase, problem: problem.into() });
        if let Some(reason) = &node.locked {
            return Err(Refusal::Locked(reason.clone()));
        }
        let Some(place) = node.placement() else { return wrong("it has not been admitted") };
        if !node.steps.is_empty() || node.failure.is_some() || !node.preflight_passed || self.steps.is_empty() {
            return wrong("it is not ready to be instructed");
        }
        let control_plane_only = self.steps.iter().any(|verb| !matches!(verb, Verb::JoinWorker | Verb::WaitReady));
        if control_plane_only != (place.role == Role::ControlPlane) {
            return wrong("these steps are not for its role");
        }
        let cluster = state.cluster(&place.cluster)?;
        let attempt = node.attempt + 1;
        if self.steps.contains(&Verb::Init) {
            let permit = cluster.permit(PermitKind::Init);
            if cluster.initialised || permit.holder.as_ref() != Some(&self.node) || permit.attempt != attempt {
                return wrong("it does not hold the init permit");
            }
        } else {
            let token = self.token.as_ref().and_then(|id| state.bootstrap_tokens.get(id));
            let fits = token.is_some_and(|token| {
                token.state == BootstrapTokenState::Present
                    && token.is_live(context.now_ms)
                    && token.purpose == Purpose::Node(self.node.clone())
            });
            if !fits {
                return wrong("its own bootstrap token is not in the cluster");
            }
        }
        let steps = self.steps.iter().map(|verb| Step::waiting(*verb)).collect();
        let Some(node) = state.nodes.get_mut(&self.node) else { return Err(Refusal::not_found("node", self.node)) };
        node.attempt = attempt;
        node.steps = steps;
        node.bootstrap_token = self.token;
        node.observation = None;
        state.node_event(false, "Instructed", format!("attempt {attempt} starts"), &self.node);
        state.touch(&self.node);
        Ok(attempt)
    }
}
