use serde::{Deserialize, Serialize};

use crate::{Digest, NodeId, Refusal, State, record::Certificate, state::{Change, Context}};

/// Stores the certificate for a key. Whoever comes first wins: the reply is the stored one, which is the one to give.
/// One that has run out unused gives way, so that a machine that was off for long is not left with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssueCertificate {
    /// The node.
    pub node: NodeId,
    /// The key it was issued for: the current or the next one.
    pub key: Digest,
    /// What was signed.
    pub certificate: Certificate,
}

impl IssueCertificate {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<Certificate, Refusal> {
        let node = state.node(&self.node)?;
        if let Some(reason) = &node.locked {
            return Err(Refusal::Locked(reason.clone()));
        }
        if !node.is_proven() {
            return Err(Refusal::SeenDiffers { what: "the identity key".into() });
        }
        if node.placement().is_none() {
            let problem = "it has not been admitted".into();
            return Err(Refusal::WrongPhase { phase: node.phase, problem });
        }
        let Some(node) = state.nodes.get_mut(&self.node) else { return Err(Refusal::not_found("node", self.node)) };
        let slot = if node.identity.key == self.key {
            &mut node.identity.certificate
        } else if let Some(next) = node.identity.next.as_mut().filter(|next| next.key == self.key) {
            &mut next.certificate
        } else {
            return Err(Refusal::SeenDiffers { what: "the identity key".into() });
        };
        slot.take_if(|stored| stored.not_after_ms <= context.now_ms);
        let stored = slot.get_or_insert(self.certificate).clone();
        state.changes.push(Change::Node(self.node));
        Ok(stored)
    }
}
