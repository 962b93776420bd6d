use serde::{Deserialize, Serialize};

use super::lock_node::lock_as_copied;
use crate::{Bytes, Digest, NodeId, Refusal, State, limits, record::NextIdentity, state::{Change, Context}};

/// Binds a node's next key. Two different keys from one generation lock the node; the reply is then 0, else the
/// next generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewIdentity {
    /// The node.
    pub node: NodeId,
    /// The key it holds.
    pub key: Digest,
    /// The generation it renews.
    pub generation: u64,
    /// The new key.
    pub new_key: Digest,
    /// PKCS#10 for it, DER.
    pub csr: Bytes,
}

impl RenewIdentity {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<u64, Refusal> {
        let node = state.node(&self.node)?;
        if let Some(reason) = &node.locked {
            return Err(Refusal::Locked(reason.clone()));
        }
        if node.placement().is_none() {
            return Err(Refusal::WrongPhase { phase: node.phase, problem: "it has not been admitted".into() });
        }
        if self.csr.0.len() > limits::CSR_MAX {
            return Err(Refusal::invalid("csr", format!("is longer than {} bytes", limits::CSR_MAX)));
        }
        let identity = &node.identity;
        if identity.key != self.key {
            return Err(Refusal::SeenDiffers { what: "the identity key".into() });
        }
        if identity.generation != self.generation {
            return Err(Refusal::WrongGeneration { given: self.generation, current: identity.generation });
        }
        let is_own_next = identity.next.as_ref().is_some_and(|next| next.key == self.new_key);
        if state.index.by_key(&self.new_key).is_some() && !is_own_next {
            return Err(Refusal::invalid("csr", "a renewal needs a new key"));
        }
        if identity.next.as_ref().is_some_and(|next| next.key != self.new_key) {
            lock_as_copied(state, &self.node, "two different keys asked to succeed one generation: the key was copied");
            return Ok(0);
        }
        let (key, csr) = (self.new_key, self.csr);
        let generation = state.change_node(&self.node, |node| {
            node.identity.next.get_or_insert(NextIdentity { key, csr, certificate: None });
            node.identity.generation + 1
        })?;
        state.changes.push(Change::Node(self.node));
        Ok(generation)
    }
}
