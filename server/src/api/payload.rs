//! A step's payload on its way to its node, and nobody else.

use muster_proto::join::v1::SealContext;
use muster_state::NodeId;
use muster_trust::sealing::{SealedToNode, SealingPublicKey, seal_to};
use prost::Message as _;

use super::wire;
use crate::operations::{Unsealed, payload};

/// Makes a step's payload and seals it to its node's key. Only after its release has committed, and on a voter.
pub(super) fn sealed(
    server: &Unsealed,
    node: &NodeId,
    attempt: u32,
    step: &str,
    sealing_key: &[u8],
) -> anyhow::Result<SealedToNode> {
    let payload = payload::render(server, node, step)?;
    let context =
        SealContext { fleet: server.fleet.to_string(), node_id: node.to_string(), attempt, step: step.to_owned() };
    let key = SealingPublicKey::from_bytes(sealing_key)?;
    Ok(seal_to(&key, &context.encode_to_vec(), &wire::payload::encode(payload))?)
}
