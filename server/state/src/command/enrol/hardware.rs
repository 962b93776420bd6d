use crate::{NodeId, State, facts::Facts, record::Node};

/// Other nodes of the same hardware, by id: what is the same, and which node.
pub(in crate::command) fn duplicates_of<'a>(
    state: &'a State,
    facts: &Facts,
    id: &NodeId,
) -> impl Iterator<Item = (&'static str, &'a Node)> {
    let twins = state.index.twins(facts, id);
    twins.into_iter().filter_map(|(twin, what)| Some((what, state.nodes.get(twin)?)))
}
