use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    NodeId, Refusal, State, TokenId,
    record::{Node, PermitKind, Placement, Purpose, Role, Step, Verb},
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
        if let Some(reason) = &node.locked {
            return Err(Refusal::Locked(reason.clone()));
        }
        self.problem(state, node, context).map_or(Ok(()), |problem| {
            Err(Refusal::WrongPhase { phase: node.phase, problem: problem.into() })
        })?;
        // A token made before the node was chosen as the first control plane has no use any more.
        let idle = node.bootstrap_token.clone().filter(|token| self.token.as_ref() != Some(token));
        let steps = self.steps.iter().map(|verb| Step::waiting(*verb)).collect();
        let Some(node) = state.nodes.get_mut(&self.node) else { return Err(Refusal::not_found("node", self.node)) };
        node.attempt += 1;
        node.steps = steps;
        node.bootstrap_token = self.token;
        node.observation = None;
        let attempt = node.attempt;
        idle.iter().for_each(|token| state.end_bootstrap_token(token));
        state.node_event(false, "Instructed", format!("attempt {attempt} starts"), &self.node);
        state.touch(&self.node);
        Ok(attempt)
    }

    /// Why it can't be.
    fn problem(&self, state: &State, node: &Node, context: Context) -> Option<&'static str> {
        let Some(place) = node.placement() else { return Some("it has not been admitted") };
        if !node.steps.is_empty() || node.failure.is_some() || !node.preflight_passed || !node.is_proven() {
            return Some("it is not ready to be instructed");
        }
        if node.finds_its_name_taken() {
            return Some("the cluster has a Ready Node of its name");
        }
        if !self.fits_role(place.role) {
            return Some("these steps are not for its role");
        }
        let Some(cluster) = state.clusters.get(&place.cluster) else { return Some("its cluster is no more") };
        if self.steps.contains(&Verb::Init) {
            let permit = cluster.permit(PermitKind::Init);
            let holds = permit.holder.as_ref() == Some(&node.id) && permit.attempt == node.attempt + 1;
            return if cluster.initialised || !holds {
                Some("it does not hold the init permit")
            } else if self.token.is_some() {
                Some("the first control plane needs no token of its own")
            } else {
                None
            };
        }
        let fits = cluster.initialised && self.has_token(state, node, place, context);
        (!fits).then_some("its own bootstrap token is not in the cluster")
    }

    fn has_token(&self, state: &State, node: &Node, place: &Placement, context: Context) -> bool {
        let token = self.token.as_ref().filter(|token| node.bootstrap_token.as_ref() == Some(token));
        token.and_then(|id| state.bootstrap_tokens.get(id)).is_some_and(|token| {
            token.is_live(context.now_ms)
                && token.cluster == place.cluster
                && token.purpose == Purpose::Node(node.id.clone())
        })
    }

    /// The steps make a member of that role, and no two of them answer to one id.
    fn fits_role(&self, role: Role) -> bool {
        let for_role = |verb: &Verb| match verb {
            Verb::JoinWorker => role == Role::Worker,
            Verb::Init | Verb::Custodian | Verb::JoinPrepare | Verb::JoinEtcd | Verb::JoinFinish | Verb::JoinWhole => {
                role == Role::ControlPlane
            }
            Verb::WaitReady | Verb::Reset => true,
        };
        let ids: BTreeSet<&str> = self.steps.iter().map(|verb| verb.step_id()).collect();
        self.steps.iter().all(for_role)
            && ids.len() == self.steps.len()
            && self.steps.iter().any(|verb| verb.makes_member())
    }
}
