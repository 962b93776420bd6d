use serde::{Deserialize, Serialize};

use crate::{
    ClusterId, NodeId, NodeName, Refusal, State, TokenId, limits,
    record::{BootstrapToken, BootstrapTokenState, Purpose, SealedSecret},
    state::{Change, Context},
};

/// Records a bootstrap token that the proposer minted. One live token per node, and per name of a join line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MintBootstrapToken {
    /// Public part.
    pub id: TokenId,
    /// The cluster it is for.
    pub cluster: ClusterId,
    /// What for.
    pub purpose: Purpose,
    /// The secret part, sealed.
    pub secret: SealedSecret,
    /// Lifetime from the moment it is applied, milliseconds.
    pub ttl_ms: u64,
}

impl MintBootstrapToken {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        state.cluster(&self.cluster)?;
        state.check_sealed([&self.secret])?;
        if state.bootstrap_tokens.contains_key(&self.id) || state.enrolment_tokens.contains_key(&self.id) {
            return Err(Refusal::Exists { kind: "bootstrap token".into(), name: self.id.to_string() });
        }
        if state.bootstrap_tokens.len() >= limits::BOOTSTRAP_TOKENS_MAX {
            let limit = limits::BOOTSTRAP_TOKENS_MAX as u64;
            return Err(Refusal::Full { what: "bootstrap tokens".into(), limit });
        }
        if let Purpose::Node(id) = &self.purpose {
            self.check_node(state, id)?;
            if let Some(node) = state.nodes.get_mut(id) {
                node.bootstrap_token = Some(self.id.clone());
            }
            state.changes.push(Change::Node(id.clone()));
        }
        if let Some(name) = self.purpose.line_name() {
            let holder = state.node_named(&self.cluster, name);
            if let Some(holder) = holder {
                return Err(Refusal::NameTaken { name: name.clone(), holder: holder.id.to_string() });
            }
            end_lines_for(state, &self.cluster, name);
        }
        let token = BootstrapToken {
            id: self.id.clone(),
            cluster: self.cluster,
            purpose: self.purpose,
            secret: self.secret,
            created_ms: context.now_ms,
            ttl_ms: self.ttl_ms,
            expires_ms: context.now_ms.saturating_add(self.ttl_ms),
            state: BootstrapTokenState::Minted,
            differs: None,
            deleted_ms: 0,
            renewal_ms: 0,
            requests: Vec::new(),
        };
        state.bootstrap_tokens.insert(self.id, token);
        state.changes.push(Change::Other);
        Ok(())
    }

    /// The node waits for a token of that cluster and has none.
    fn check_node(&self, state: &State, id: &NodeId) -> Result<(), Refusal> {
        let node = state.node(id)?;
        let is_there = node.placement().is_some_and(|place| place.cluster == self.cluster);
        let has_one = state.coming_token(node).is_some();
        if !is_there || has_one || !node.steps.is_empty() || node.locked.is_some() || !node.is_proven() {
            let problem = "it does not wait for a token of this cluster".into();
            return Err(Refusal::WrongPhase { phase: node.phase, problem });
        }
        Ok(())
    }
}

/// Two tokens for one name would certify two machines under it.
fn end_lines_for(state: &mut State, cluster: &ClusterId, name: &NodeName) {
    let earlier = state.bootstrap_tokens.values().filter(|token| {
        token.cluster == *cluster
            && token.purpose.line_name() == Some(name)
            && token.state.is_wanted()
    });
    let earlier: Vec<TokenId> = earlier.map(|token| token.id.clone()).collect();
    earlier.iter().for_each(|id| state.end_bootstrap_token(id));
}
