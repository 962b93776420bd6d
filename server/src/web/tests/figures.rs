//! What is recorded, read back as text.

use std::time::Duration;

use muster_state::command::Enrol;
use muster_state::facts::Facts;
use muster_state::record::{Assurance, Event, Node, PhaseEntry, Placement, Role, Standing};
use muster_state::{Bytes, ClusterId, Digest, NodeId, NodeName, Phase, State};

use super::super::fleet::FleetSampler;
use super::super::metrics::{self, Proposal, Raft};

fn recorded(record: impl FnOnce()) -> String {
    let recorder = metrics::builder().unwrap().build_recorder();
    ::metrics::with_local_recorder(&recorder, record);
    recorder.handle().render()
}

fn assert_has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|had| had == *line), "{line} in:\n{text}");
    }
}

/// Enrols a machine as any other, then puts it where the test wants it.
fn mk_node(id: &str, role: Option<Role>, timeline: &[(Phase, u64)]) -> Node {
    let enrol = Enrol {
        candidate: NodeId::from(id),
        token: None,
        key: Digest([1; 32]),
        csr: Bytes::default(),
        sealing_key: Bytes::default(),
        facts: Facts::default(),
        from: "10.0.0.9".to_owned(),
    };
    let mut state = State::default();
    state.apply_verb(1, enrol).unwrap();
    let mut node = state.nodes.remove(&NodeId::from(id)).unwrap();
    if let Some(role) = role {
        node.standing = Standing::Admitted(Placement {
            cluster: ClusterId::from("c"),
            pool: "p".to_owned(),
            role,
            name: NodeName::try_from(format!("node-{id}")).unwrap(),
            assurance: Assurance::Approved,
        });
    }
    node.timeline = timeline.iter().map(|(phase, at_ms)| PhaseEntry { phase: *phase, at_ms: *at_ms }).collect();
    node.phase = node.timeline.last().unwrap().phase;
    node
}

fn mk_state(nodes: Vec<Node>) -> State {
    let mut state = State::default();
    state.nodes.extend(nodes.into_iter().map(|node| (node.id.clone(), node)));
    state
}

#[test]
fn nodes_are_counted_by_role_and_phase_and_an_emptied_phase_goes_to_zero() {
    let text = recorded(|| {
        let mut sampler = FleetSampler::default();
        sampler.sample(&mk_state(vec![
            mk_node("a", Some(Role::Worker), &[(Phase::Joining, 1)]),
            mk_node("b", Some(Role::Worker), &[(Phase::Joining, 1)]),
            mk_node("c", None, &[(Phase::PendingApproval, 1)]),
        ]));
        sampler.sample(&mk_state(vec![
            mk_node("a", Some(Role::Worker), &[(Phase::Joining, 1), (Phase::Ready, 2)]),
            mk_node("b", Some(Role::Worker), &[(Phase::Joining, 1), (Phase::Failed, 2)]),
            mk_node("c", None, &[(Phase::PendingApproval, 1)]),
        ]));
    });
    assert_has(
        &text,
        &[
            "muster_nodes{role=\"worker\",phase=\"Joining\"} 0",
            "muster_nodes{role=\"worker\",phase=\"Ready\"} 1",
            "muster_nodes{role=\"worker\",phase=\"Failed\"} 1",
            "muster_nodes{role=\"unassigned\",phase=\"PendingApproval\"} 1",
            "muster_nodes{role=\"control-plane\",phase=\"Ready\"} 0",
            "muster_joins_total{role=\"worker\",result=\"ready\"} 1",
            "muster_joins_total{role=\"worker\",result=\"failed\"} 1",
        ],
    );
}

#[test]
fn what_had_joined_before_the_first_look_is_not_counted_again() {
    let text = recorded(|| {
        let state = mk_state(vec![mk_node("a", Some(Role::Worker), &[(Phase::Ready, 2)])]);
        let mut sampler = FleetSampler::default();
        sampler.sample(&state);
        sampler.sample(&state);
    });
    assert!(!text.contains("muster_joins_total"), "{text}");
}

#[test]
fn a_join_is_timed_from_its_last_admission() {
    let text = recorded(|| {
        let mut sampler = FleetSampler::default();
        sampler.sample(&mk_state(Vec::new()));
        let timeline = [
            (Phase::Approved, 0),
            (Phase::Ready, 1_000_000),
            (Phase::Approved, 2_000_000),
            (Phase::Joining, 2_004_000),
            (Phase::Ready, 2_010_500),
        ];
        sampler.sample(&mk_state(vec![mk_node("a", Some(Role::ControlPlane), &timeline)]));
    });
    assert_has(
        &text,
        &[
            "muster_join_duration_seconds_sum{role=\"control-plane\"} 10.5",
            "muster_join_duration_seconds_count{role=\"control-plane\"} 1",
            "muster_join_phase_duration_seconds_sum{role=\"control-plane\",phase=\"Approved\"} 4",
            "muster_join_phase_duration_seconds_sum{role=\"control-plane\",phase=\"Joining\"} 6.5",
        ],
    );
}

#[test]
fn each_event_is_counted_once() {
    let event = |sequence: u64, warning: bool| Event {
        sequence,
        at_ms: 0,
        warning,
        reason: "PermitGranted".to_owned(),
        message: String::new(),
        cluster: None,
        node: None,
        server: None,
    };
    let text = recorded(|| {
        let mut sampler = FleetSampler::default();
        let mut state = State::default();
        state.events.push_back(event(1, false));
        state.last_event = 1;
        sampler.sample(&state);
        state.events.extend([event(2, false), event(3, true), event(4, false)]);
        state.last_event = 4;
        sampler.sample(&state);
        sampler.sample(&state);
    });
    assert_has(
        &text,
        &[
            "muster_events_total{type=\"Normal\",reason=\"PermitGranted\"} 2",
            "muster_events_total{type=\"Warning\",reason=\"PermitGranted\"} 1",
        ],
    );
}

#[test]
fn consensus_is_shown_with_its_leader_and_every_change_of_it() {
    let text = recorded(|| {
        let start = Raft { id: 1, ..Raft::default() };
        let lead = Raft {
            leader: Some(1),
            term: 3,
            last_log_index: 40,
            applied_index: 39,
            quorum_ack_age: Some(Duration::from_millis(250)),
            peer_lag_entries: vec![(2, 5)],
            log_syncs: 17,
            log_bytes: 4096,
            ..start.clone()
        };
        let follow = Raft { leader: Some(2), quorum_ack_age: None, peer_lag_entries: Vec::new(), ..lead.clone() };
        metrics::raft(&start, &start);
        metrics::raft(&start, &lead);
        metrics::raft(&lead, &lead);
        metrics::raft(&lead, &follow);
    });
    assert_has(
        &text,
        &[
            "muster_raft_has_leader 1",
            "muster_raft_is_leader 0",
            "muster_raft_term 3",
            "muster_raft_last_log_index 40",
            "muster_raft_applied_index 39",
            "muster_raft_leader_changes_total 2",
            "muster_raft_quorum_ack_age_seconds 0",
            "muster_raft_peer_lag_entries{peer=\"2\"} 0",
            "muster_storage_syncs_total 17",
            "muster_storage_size_bytes 4096",
        ],
    );
}

#[test]
fn commands_are_counted_by_result_and_timed() {
    let text = recorded(|| {
        metrics::proposal(Proposal::Done, Duration::from_millis(2));
        metrics::proposal(Proposal::Refused, Duration::from_millis(2));
        metrics::proposal(Proposal::Done, Duration::from_millis(700));
    });
    assert_has(
        &text,
        &[
            "muster_raft_proposals_total{result=\"done\"} 2",
            "muster_raft_proposals_total{result=\"refused\"} 1",
            "muster_raft_proposal_duration_seconds_bucket{le=\"0.0025\"} 2",
            "muster_raft_proposal_duration_seconds_bucket{le=\"1\"} 3",
        ],
    );
}

#[test]
fn the_storage_records_under_the_name_that_is_described_here() {
    let storage = include_str!("../../storage/durable/writer.rs");
    assert!(storage.contains(&format!("\"{}\"", metrics::STORAGE_FLUSH_DURATION)));
}

#[test]
fn messages_to_other_servers_are_counted_by_peer_and_call() {
    use super::super::metrics::{PeerCall, PeerFailure, peer_call};
    let text = recorded(|| {
        peer_call(2, PeerCall::Append, 100, Ok((Duration::from_millis(2), 20)));
        peer_call(2, PeerCall::Append, 50, Err(PeerFailure::TimedOut));
        peer_call(3, PeerCall::Vote, 7, Err(PeerFailure::Unreachable));
    });
    assert_has(
        &text,
        &[
            r#"muster_peer_bytes_total{peer="2",direction="sent"} 150"#,
            r#"muster_peer_bytes_total{peer="2",direction="received"} 20"#,
            r#"muster_peer_failures_total{peer="2",call="append",reason="timed-out"} 1"#,
            r#"muster_peer_failures_total{peer="3",call="vote",reason="unreachable"} 1"#,
            r#"muster_peer_round_trip_seconds_bucket{peer="2",call="append",le="0.0025"} 1"#,
            r#"muster_peer_round_trip_seconds_count{peer="2",call="append"} 1"#,
        ],
    );
}
