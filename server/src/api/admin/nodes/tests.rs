use super::*;
use crate::api::fixture::{control_plane, mk_state, pending, worker};

const A: &str = "6e0f3a51-0000-4000-8000-000000000001";
const B: &str = "6e0f7777-0000-4000-8000-000000000002";
const C: &str = "7e0f7777-0000-4000-8000-000000000003";

fn taken(state: &State, node: &str, cluster: &str, phase: &str) -> Vec<String> {
    let asked = ListNodesRequest { node: node.into(), cluster: cluster.into(), phase: phase.into() };
    let filter = Filter::of(state, asked).unwrap();
    state.nodes.values().filter(|node| filter.takes(node)).map(|node| node.id.to_string()).collect()
}

fn mk_three() -> State {
    let mut state = mk_state();
    control_plane(&mut state, A, "cp-1");
    worker(&mut state, B);
    pending(&mut state, C);
    state
}

#[test]
fn nodes_are_filtered_by_what_they_are_called_where_they_belong_and_how_far_they_are() {
    let state = mk_three();
    assert_eq!(taken(&state, "", "", ""), [A, B, C]);
    assert_eq!(taken(&state, "cp-1", "", ""), [A]);
    assert_eq!(taken(&state, "7e", "", ""), [C]);
    assert_eq!(taken(&state, "", "prod", ""), [A, B]);
    assert_eq!(taken(&state, "", "", "PendingApproval"), [C]);
    assert_eq!(taken(&state, "cp-1", "prod", "Approved"), [A]);
    assert!(taken(&state, "nobody", "", "").is_empty());
}

#[test]
fn a_filter_for_a_node_that_is_not_there_yet_takes_it_when_it_comes() {
    let mut state = mk_state();
    let asked = ListNodesRequest { node: "cp-1".into(), ..ListNodesRequest::default() };
    let filter = Filter::of(&state, asked).unwrap();
    let node = control_plane(&mut state, A, "cp-1");
    assert!(filter.takes(&state.nodes[&node]));
}

#[test]
fn a_filter_that_cannot_be_is_refused_with_its_field() {
    let state = mk_three();
    let refusal = |node: &str, cluster: &str, phase: &str| {
        let asked = ListNodesRequest { node: node.into(), cluster: cluster.into(), phase: phase.into() };
        Filter::of(&state, asked).unwrap_err().to_string()
    };
    assert!(refusal("6e0f", "", "").starts_with("node: "));
    assert!(refusal("", "other", "").contains("no cluster"));
    assert!(refusal("", "", "Joined").starts_with("phase: "));
}
