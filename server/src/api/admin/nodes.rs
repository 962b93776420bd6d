//! Nodes: listed, denied, retried, removed, locked, unlocked.

use muster_proto::admin::v1::{ListNodesRequest, Node, NodeList, NodeRequest};
use muster_state::{
    ClusterId, NodeId, Phase, State,
    command::{DenyNode, LockNode, RemoveNode, RetryNode, UnlockNode},
    record::Node as Record,
};
use tonic::{Request, Response, Status};

use super::{
    Answer,
    call::{changing, reading},
    resolve::{self, Called},
};
use crate::{
    api::{
        status::{of_operation, of_propose},
        wire,
    },
    operations::{OperationError, Unsealed},
};

/// What an operator decides about one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Deny,
    Retry,
    Remove,
    Lock,
    Unlock,
}

pub(super) async fn decide(server: &Unsealed, request: Request<NodeRequest>, decision: Decision) -> Answer<Node> {
    let (request, NodeRequest { node, reason, .. }) = changing(server, request)?;
    let id = server.ledger.read(|state| resolve::node_id(state, "node", &node)).map_err(of_operation)?;
    let (before, node, ledger) = (Filter::default().view(server, &id), id.clone(), &server.ledger);
    let decided = match decision {
        Decision::Deny => ledger.propose_for(request, DenyNode { node, reason }).await,
        Decision::Retry => ledger.propose_for(request, RetryNode { node, automatic: false }).await,
        Decision::Remove => ledger.propose_for(request, RemoveNode { node, reason }).await,
        Decision::Lock => ledger.propose_for(request, LockNode { node, reason }).await,
        Decision::Unlock => ledger.propose_for(request, UnlockNode { node }).await,
    };
    decided.map_err(of_propose)?;
    Ok(Response::new(shown(server, &id, before)))
}

/// The node as it is now or, once it is gone, as it was; its id alone if it was gone before.
pub(super) fn shown(server: &Unsealed, id: &NodeId, before: Option<Node>) -> Node {
    let gone = || Node { id: id.to_string(), ..Node::default() };
    // Nothing moves on what is no longer there.
    let was = || Node { next: String::new(), ..before.unwrap_or_else(gone) };
    Filter::default().view(server, id).unwrap_or_else(was)
}

pub(super) fn list(server: &Unsealed, request: Request<ListNodesRequest>) -> Answer<NodeList> {
    let filter = Filter::parse(server, reading(request)?)?;
    let ids = filter.ids(server);
    Ok(Response::new(NodeList { items: ids.iter().filter_map(|id| filter.view(server, id)).collect() }))
}

/// Which nodes are asked for; the default is all.
#[derive(Debug, Default)]
pub(super) struct Filter {
    called: Option<Called>,
    cluster: Option<ClusterId>,
    phase: Option<Phase>,
}

impl Filter {
    /// Parses a filter. The beginning of several ids is refused; the name or id of no node is not, as it may come.
    pub(super) fn parse(server: &Unsealed, asked: ListNodesRequest) -> Result<Self, Status> {
        server.ledger.read(|state| Self::of(state, asked)).map_err(of_operation)
    }

    fn of(state: &State, asked: ListNodesRequest) -> Result<Self, OperationError> {
        let ListNodesRequest { node, cluster, phase } = asked;
        let cluster_id = || resolve::cluster(state, "cluster", &cluster).map(|cluster| cluster.id.clone());
        Ok(Self {
            called: Called::parse(state, "node", &node)?,
            cluster: (!cluster.is_empty()).then(cluster_id).transpose()?,
            phase: (!phase.is_empty()).then(|| wire::node::parse_phase("phase", &phase)).transpose()?,
        })
    }

    /// All nodes there are that may be asked for.
    pub(super) fn ids(&self, server: &Unsealed) -> Vec<NodeId> {
        match &self.called {
            Some(Called::Known(ids)) => ids.clone(),
            Some(Called::Unknown(_)) | None => server.ledger.read(|state| state.nodes.keys().cloned().collect()),
        }
    }

    /// The node as it is now, if it is asked for. One short read: applying waits for readers, and a list may have ten
    /// thousand nodes.
    pub(super) fn view(&self, server: &Unsealed, id: &NodeId) -> Option<Node> {
        server.ledger.read(|state| {
            let node = state.nodes.get(id).filter(|node| self.takes(node))?;
            Some(wire::node::render(state, node))
        })
    }

    fn takes(&self, node: &Record) -> bool {
        let name = node.placement().map(|place| &place.name);
        let is_called = self.called.as_ref().is_none_or(|called| called.means(&node.id, name));
        let in_cluster = self.cluster.as_ref().is_none_or(|cluster| wire::node::cluster_of(node) == Some(cluster));
        is_called && in_cluster && self.phase.is_none_or(|phase| node.phase == phase)
    }
}

#[cfg(test)]
mod tests;
