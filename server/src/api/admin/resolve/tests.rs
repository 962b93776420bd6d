use super::*;
use crate::api::fixture::{CLUSTER, control_plane, mk_state, pending};

const A: &str = "6e0f3a51-0000-4000-8000-000000000001";
const B: &str = "6e0f7777-0000-4000-8000-000000000002";

fn mk_two() -> State {
    let mut state = mk_state();
    control_plane(&mut state, A, "cp-1");
    pending(&mut state, B);
    state
}

#[test]
fn a_cluster_is_found_by_name_id_and_beginning_of_its_id() {
    let state = mk_two();
    for text in ["prod", CLUSTER, "1111", ""] {
        assert_eq!(cluster(&state, "cluster", text).unwrap().id, CLUSTER.into(), "{text:?}");
    }
    let said = cluster(&state, "cluster", "other").unwrap_err();
    assert!(matches!(said, OperationError::NotFound(_)), "{said}");
    assert!(matches!(cluster(&State::default(), "cluster", ""), Err(OperationError::NotFound(_))));
}

#[test]
fn an_ambiguous_beginning_of_a_clusters_id_names_the_candidates() {
    let mut state = mk_two();
    let mut other = state.clusters[&CLUSTER.into()].clone();
    other.id = "11112222-0000-4000-8000-000000000001".into();
    other.spec.name = "test".into();
    state.clusters.insert(other.id.clone(), other);
    let said = find_cluster(&state, "cluster", "1111").unwrap_err().to_string();
    assert!(
        said.starts_with("cluster: \"1111\" means 2") && said.contains("(prod)") && said.contains("(test)"),
        "{said}"
    );
    assert!(cluster(&state, "cluster", "").unwrap_err().to_string().contains("several"));
    assert_eq!(find_cluster(&state, "cluster", "11112").unwrap().unwrap().spec.name, "test");
}

#[test]
fn a_node_is_found_by_name_id_and_beginning_of_its_id() {
    let state = mk_two();
    for text in ["cp-1", A, "6e0f3"] {
        assert_eq!(node(&state, "node", text).unwrap().id, A.into(), "{text:?}");
    }
    let said = node(&state, "node", "6e0f").unwrap_err().to_string();
    assert!(said.starts_with("node: ") && said.contains(&format!("{A} (cp-1), {B}")), "{said}");
    assert!(matches!(node(&state, "node", "x"), Err(OperationError::NotFound(_))));
    assert!(node(&state, "node", "").unwrap_err().to_string().contains("is needed"));
}

#[test]
fn the_name_that_a_machine_merely_asks_for_does_not_find_it() {
    let mut state = mk_two();
    state.nodes.get_mut(&B.into()).unwrap().facts.wanted_node_name = "cp-2".into();
    assert!(find_nodes(&state, "node", "cp-2").unwrap().is_empty());
}

#[test]
fn the_whole_id_of_a_node_that_is_gone_is_still_taken() {
    let gone = "6e0f9999-0000-4000-8000-000000000003";
    assert_eq!(node_id(&mk_two(), "node", gone).unwrap(), gone.into());
    assert!(node_id(&mk_two(), "node", "6e0f9999").is_err());
}

#[test]
fn an_error_names_only_so_many_candidates() {
    let mut state = mk_state();
    for n in 0..20 {
        pending(&mut state, &format!("6e0f3a51-0000-4000-8000-{n:012}"));
    }
    let said = node(&state, "node", "6e0f").unwrap_err().to_string();
    assert!(said.contains("means 20 of them") && said.contains('…'), "{said}");
    assert_eq!(said.matches("6e0f3a51").count(), CANDIDATES_SHOWN);
}
