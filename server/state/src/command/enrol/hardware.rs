use crate::{
    NodeId, State,
    facts::Facts,
    record::{Node, Standing},
};

/// Other nodes of the same hardware, by id: what is the same, and which node.
pub(in crate::command) fn duplicates_of<'a>(
    state: &'a State,
    facts: &'a Facts,
    id: &'a NodeId,
) -> impl Iterator<Item = (&'static str, &'a Node)> {
    state
        .nodes
        .values()
        .filter(move |node| node.id != *id && !matches!(node.standing, Standing::Denied(_)))
        .filter_map(move |node| Some((common_mark(facts, &node.facts)?, node)))
}

fn common_mark(one: &Facts, other: &Facts) -> Option<&'static str> {
    let same = |a: &str, b: &str| !a.is_empty() && a.eq_ignore_ascii_case(b);
    if same(&one.uuid, &other.uuid) {
        Some("UUID")
    } else if same(&one.serial, &other.serial) && same(&one.product, &other.product) {
        Some("serial number")
    } else if one.macs.iter().any(|mac| other.macs.iter().any(|its| same(mac, its))) {
        Some("MAC address")
    } else {
        None
    }
}
