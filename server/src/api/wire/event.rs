//! What happened.

use muster_proto::admin::v1::Event as Wire;
use muster_state::{State, record::Event};

use super::time::timestamp;

/// An event as it is shown. A node that is gone has its id only.
pub fn render(state: &State, event: &Event) -> Wire {
    let cluster = event.cluster.as_ref();
    let node = event.node.as_ref();
    let cluster_name = cluster.and_then(|id| state.clusters.get(id)).map(|cluster| cluster.spec.name.clone());
    let placed = node.and_then(|id| state.nodes.get(id)).and_then(|node| node.placement());
    Wire {
        sequence: event.sequence,
        at: timestamp(event.at_ms),
        r#type: if event.warning { "Warning" } else { "Normal" }.into(),
        reason: event.reason.clone(),
        message: event.message.clone(),
        cluster: cluster_name.or_else(|| cluster.map(ToString::to_string)).unwrap_or_default(),
        node_id: node.map(ToString::to_string).unwrap_or_default(),
        server_id: event.server.unwrap_or_default(),
        node_name: placed.map(|place| place.name.to_string()).unwrap_or_default(),
    }
}
