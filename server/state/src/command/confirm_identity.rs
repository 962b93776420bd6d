use serde::{Deserialize, Serialize};

use super::lock_node::lock_as_copied;
use crate::{Digest, NodeId, Refusal, State, record::Identity, state::{Change, Context}};

/// Keys of earlier generations that are remembered, to notice a copy.
pub(super) const PREVIOUS_KEPT: usize = 8;

/// A certificate was used: enrolment gives it no more, a renewal takes effect. Replies with the node, which may
/// have been locked by this very use.
///
/// Nobody proposes it any more, because [`super::RecordHello`] does the same; logs that were written before hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmIdentity {
    /// The node its certificate names.
    pub node: NodeId,
    /// SHA-256 of the SPKI of the key it holds.
    pub key: Digest,
}

impl ConfirmIdentity {
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<NodeId, Refusal> {
        confirm(state, &self.node, &self.key)?;
        Ok(self.node)
    }
}

/// That key of the node was used.
pub(super) fn confirm(state: &mut State, id: &NodeId, key: &Digest) -> Result<(), Refusal> {
    let node = state.node(id)?;
    if let Some(reason) = &node.locked {
        return Err(Refusal::Locked(reason.clone()));
    }
    if !node.is_proven() {
        return Err(Refusal::SeenDiffers { what: "the identity key".into() });
    }
    if node.placement().is_none() {
        return Err(Refusal::WrongPhase { phase: node.phase, problem: "it has not been admitted".into() });
    }
    if node.identity.previous.contains(key) {
        // The holder of a newer key has been seen: whoever shows the old one is a copy, or a disk put back.
        lock_as_copied(state, id, "a key of an earlier generation was used again: the key was copied or the disk was put back");
        return Ok(());
    }
    let identity = &node.identity;
    if identity.key != *key {
        if identity.next.as_ref().is_none_or(|next| next.key != *key) {
            return Err(Refusal::SeenDiffers { what: "the identity key".into() });
        }
        let generation = state.change_node(id, |node| succeed(&mut node.identity))?;
        let message = format!("identity renewed to generation {generation}");
        state.node_event(false, "IdentityRenewed", message, id);
    } else if identity.confirmed {
        return Ok(());
    } else if let Some(node) = state.nodes.get_mut(id) {
        node.identity.confirmed = true;
    }
    state.changes.push(Change::Node(id.clone()));
    Ok(())
}

/// The next key takes the place of the present one. Gives the new generation.
fn succeed(identity: &mut Identity) -> u64 {
    if let Some(next) = identity.next.take() {
        let old = std::mem::replace(&mut identity.key, next.key);
        identity.previous.push(old);
        // Certificates live a day: eight generations back, none is valid any more.
        if identity.previous.len() > PREVIOUS_KEPT {
            identity.previous.remove(0);
        }
        identity.generation += 1;
        identity.csr = next.csr;
        identity.certificate = next.certificate;
        identity.confirmed = true;
    }
    identity.generation
}
