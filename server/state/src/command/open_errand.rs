use serde::{Deserialize, Serialize};

use crate::{
    ClusterId, NodeId, Refusal, State,
    record::{Errand, ErrandKind, ErrandState, Role},
    state::Context,
};

/// Gives a custodian something to do. Replies with its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenErrand {
    /// Where.
    pub cluster: ClusterId,
    /// What.
    pub kind: ErrandKind,
    /// Who.
    pub custodian: NodeId,
}

impl OpenErrand {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<u64, Refusal> {
        state.cluster(&self.cluster)?;
        let node = state.node(&self.custodian)?;
        let fit = node.locked.is_none()
            && node.has_joined()
            && node.placement().is_some_and(|place| place.cluster == self.cluster && place.role == Role::ControlPlane);
        if !fit {
            return Err(Refusal::WrongPhase { phase: node.phase, problem: "only a joined control plane is custodian".into() });
        }
        let doubled = state.errands.values().any(|errand| {
            errand.state == ErrandState::Open && errand.cluster == self.cluster && overlaps(&errand.kind, &self.kind)
        });
        if doubled {
            return Err(Refusal::Exists { kind: "errand".into(), name: format!("{:?}", self.kind) });
        }
        if let ErrandKind::ApplyTokens(tokens) = &self.kind {
            for id in tokens {
                if let Some(token) = state.bootstrap_tokens.get_mut(id) {
                    token.expires_ms = context.now_ms.saturating_add(token.ttl_ms);
                }
            }
        }
        state.last_errand += 1;
        let errand = Errand {
            number: state.last_errand,
            cluster: self.cluster,
            kind: self.kind,
            custodian: self.custodian.clone(),
            state: ErrandState::Open,
            created_ms: context.now_ms,
            failures: 0,
            released_to: None,
        };
        state.errands.insert(errand.number, errand);
        state.touch(&self.custodian);
        Ok(state.last_errand)
    }
}

/// Two errands touch the same things: a deletion must not overtake an application of the same token.
fn overlaps(open: &ErrandKind, new: &ErrandKind) -> bool {
    let tokens = |kind: &ErrandKind| match kind {
        ErrandKind::ApplyTokens(tokens) | ErrandKind::DeleteTokens(tokens) => tokens.clone(),
        ErrandKind::UploadCertificates | ErrandKind::ListEtcdMembers(_) => Vec::new(),
    };
    open == new || tokens(open).iter().any(|token| tokens(new).contains(token))
}
