use muster_state::limits::EVENTS_MAX;

use super::*;
use crate::api::fixture::{NOW_MS, control_plane, mk_state, pending};

const A: &str = "6e0f3a51-0000-4000-8000-000000000001";

/// Sequence numbers of all that a reader gets who asks page by page.
fn read(state: &State, filter: &Filter, mut after: u64) -> Vec<u64> {
    let mut got = Vec::new();
    loop {
        let page = Page::of(state, filter, after);
        got.extend(page.events.iter().map(|event| event.sequence));
        if page.is_last {
            return got;
        }
        after = page.reached;
    }
}

fn mk_busy(nodes: usize) -> State {
    let mut state = mk_state();
    for n in 0..nodes {
        pending(&mut state, &format!("6e0f3a51-0000-4000-8000-{n:012}"));
    }
    state
}

#[test]
fn page_by_page_each_event_comes_once_in_order() {
    let state = mk_busy(400);
    assert!(state.events.len() > PAGE, "{}", state.events.len());
    let all: Vec<u64> = (1..=state.last_event).collect();
    assert_eq!(read(&state, &Filter::default(), 0), all);
    assert_eq!(read(&state, &Filter::default(), 10), all[10..]);
    assert!(read(&state, &Filter::default(), state.last_event).is_empty());
    assert!(read(&state, &Filter::default(), u64::MAX).is_empty());
}

#[test]
fn what_is_no_longer_kept_is_a_gap() {
    let mut state = mk_busy(3);
    let kept = state.events.clone();
    assert!(!Page::of(&state, &Filter::default(), 0).is_gap);
    state.events.drain(..2);
    assert!(Page::of(&state, &Filter::default(), 0).is_gap);
    assert!(Page::of(&state, &Filter::default(), 1).is_gap);
    assert!(!Page::of(&state, &Filter::default(), 2).is_gap);
    assert!(!Page::of(&state, &Filter::default(), kept.len() as u64).is_gap);
    assert!(kept.len() < EVENTS_MAX);
}

#[test]
fn events_are_filtered_by_cluster_node_and_time() {
    let mut state = mk_state();
    control_plane(&mut state, A, "cp-1");
    let filter = |cluster: &str, node: &str, since_ms: u64| {
        let since = wire::time::timestamp(since_ms);
        let asked = ListEventsRequest { cluster: cluster.into(), node: node.into(), after: 0, since, server: 0 };
        Filter::of(&state, asked).unwrap()
    };
    let events = |filter: &Filter| Page::of(&state, filter, 0).events;
    for name in ["cp-1", A, "6e0f"] {
        let found = events(&filter("", name, 0));
        assert!(
            !found.is_empty() && found.iter().all(|event| event.node_id == A && event.node_name == "cp-1"),
            "{name}"
        );
    }
    let of_cluster = events(&filter("prod", "", 0));
    assert!(of_cluster.iter().all(|event| event.cluster == "prod"));
    assert!(of_cluster.iter().any(|event| event.reason == "ClusterCreated"));
    assert!(events(&filter("", "", NOW_MS + 1)).is_empty());
    assert_eq!(events(&filter("", "", NOW_MS)).len(), state.events.len());
}

#[test]
fn the_events_of_a_node_that_is_gone_are_found_by_its_id() {
    let mut state = mk_state();
    control_plane(&mut state, A, "cp-1");
    state.nodes.clear();
    let asked = ListEventsRequest { node: A.into(), ..ListEventsRequest::default() };
    let page = Page::of(&state, &Filter::of(&state, asked).unwrap(), 0);
    assert!(
        !page.events.is_empty() && page.events.iter().all(|event| event.node_id == A && event.node_name.is_empty())
    );
}
