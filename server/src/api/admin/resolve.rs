//! Names, ids and unique prefixes of ids as people type them.

use muster_state::{
    ClusterId, NodeId, NodeName, State,
    record::{Cluster, Node},
};

use crate::operations::OperationError;

/// Candidates that an error names: enough to see what went wrong.
const CANDIDATES_SHOWN: usize = 8;

/// The cluster that is meant; `None` if there is none.
pub(super) fn find_cluster<'a>(
    state: &'a State,
    field: &str,
    text: &str,
) -> Result<Option<&'a Cluster>, OperationError> {
    let exact = state.cluster_named(text).or_else(|| state.clusters.get(&ClusterId::from(text)));
    if exact.is_some() || text.is_empty() {
        return Ok(exact);
    }
    let from = state.clusters.range(ClusterId::from(text)..);
    let starting = from.map(|(_, cluster)| cluster).take_while(|cluster| cluster.id.as_str().starts_with(text));
    let name = |cluster: &&Cluster| format!("{} ({})", cluster.id, cluster.spec.name);
    at_most_one(field, text, starting.collect(), name)
}

/// The cluster that is meant; empty for the only one there is.
pub(super) fn cluster<'a>(state: &'a State, field: &str, text: &str) -> Result<&'a Cluster, OperationError> {
    if text.is_empty() {
        let mut clusters = state.clusters.values();
        return match (clusters.next(), clusters.next()) {
            (Some(only), None) => Ok(only),
            (Some(_), Some(_)) => Err(OperationError::invalid(field, "is needed: there are several clusters")),
            (None, _) => {
                Err(OperationError::NotFound("there is no cluster yet; make one with `muster cluster create`".into()))
            }
        };
    }
    find_cluster(state, field, text)?
        .ok_or_else(|| OperationError::NotFound(format!("there is no cluster {text:?}; see `muster get clusters`")))
}

/// The nodes that are meant: one by its id or a prefix of it, or those of a name, which each cluster may have once.
pub(super) fn find_nodes<'a>(state: &'a State, field: &str, text: &str) -> Result<Vec<&'a Node>, OperationError> {
    if let Some(node) = state.nodes.get(&NodeId::from(text)) {
        return Ok(vec![node]);
    }
    let is_named = |node: &&Node| node.placement().is_some_and(|place| place.name.as_str() == text);
    let named: Vec<&Node> = state.nodes.values().filter(is_named).collect();
    if !named.is_empty() || text.is_empty() {
        return Ok(named);
    }
    let from = state.nodes.range(NodeId::from(text)..);
    let starting = from.map(|(_, node)| node).take_while(|node| node.id.as_str().starts_with(text));
    Ok(at_most_one(field, text, starting.collect(), describe)?.into_iter().collect())
}

/// The one node that is meant.
pub(super) fn node<'a>(state: &'a State, field: &str, text: &str) -> Result<&'a Node, OperationError> {
    if text.is_empty() {
        return Err(OperationError::invalid(
            field,
            "is needed: a node's id, a prefix of it that is unique, or its name",
        ));
    }
    at_most_one(field, text, find_nodes(state, field, text)?, describe)?
        .ok_or_else(|| OperationError::NotFound(format!("there is no node {text:?}; see `muster get nodes`")))
}

/// The id of the one node that is meant. A whole id is taken even if there is no such node: the ledger knows whether it
/// answered this request before the node was gone.
pub(super) fn node_id(state: &State, field: &str, text: &str) -> Result<NodeId, OperationError> {
    match node(state, field, text) {
        Ok(node) => Ok(node.id.clone()),
        Err(OperationError::NotFound(_)) if uuid::Uuid::try_parse(text).is_ok() => Ok(text.into()),
        Err(error) => Err(error),
    }
}

/// The nodes that a filter means, as far as they can be told beforehand.
#[derive(Debug)]
pub(super) enum Called {
    /// These are meant.
    Known(Vec<NodeId>),
    /// There is no such node: it may come, or be gone while something of it is kept.
    Unknown(String),
}

impl Called {
    /// What a filter means; `None` for an empty one.
    pub(super) fn parse(state: &State, field: &str, text: &str) -> Result<Option<Self>, OperationError> {
        let ids: Vec<_> = find_nodes(state, field, text)?.into_iter().map(|node| node.id.clone()).collect();
        let called = if ids.is_empty() { Self::Unknown(text.to_owned()) } else { Self::Known(ids) };
        Ok((!text.is_empty()).then_some(called))
    }

    /// The node of that id, and that name if it has one, is meant.
    pub(super) fn means(&self, id: &NodeId, name: Option<&NodeName>) -> bool {
        match self {
            Self::Known(ids) => ids.contains(id),
            Self::Unknown(text) => id.as_str().starts_with(text) || name.is_some_and(|name| name.as_str() == text),
        }
    }
}

fn describe(node: &&Node) -> String {
    match node.placement() {
        Some(place) => format!("{} ({})", node.id, place.name),
        None => node.id.to_string(),
    }
}

fn at_most_one<T>(
    field: &str,
    text: &str,
    found: Vec<T>,
    name: impl Fn(&T) -> String,
) -> Result<Option<T>, OperationError> {
    if found.len() > 1 {
        let mut candidates: Vec<String> = found.iter().take(CANDIDATES_SHOWN).map(name).collect();
        if found.len() > CANDIDATES_SHOWN {
            candidates.push("…".into());
        }
        let problem =
            format!("{text:?} means {} of them: {}; write more of the id", found.len(), candidates.join(", "));
        return Err(OperationError::invalid(field, problem));
    }
    Ok(found.into_iter().next())
}

#[cfg(test)]
mod tests;
