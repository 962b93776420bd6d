//! Nodes as people see them.

use muster_proto::Timestamp as At;
use muster_proto::admin::v1::{Event, LastFailure, PhaseTime};
use muster_proto::enrolment::v1::Dropped;

use super::*;
use crate::cli::console::testing::noon;
use crate::cli::show::events_below;

fn at(seconds_ago: i64) -> Option<At> {
    Some(At { seconds: noon().as_second() - seconds_ago, nanos: 0 })
}

fn mk_facts() -> Facts {
    Facts {
        uuid: "7a0f".into(),
        macs: vec!["52:54:00:12:34:ab".into(), "52:54:00:12:34:ac".into()],
        boot_mac: "52:54:00:12:34:ac".into(),
        hostname: "localhost".into(),
        addresses: vec!["192.0.2.7".into()],
        dropped: vec![Dropped { field: "serial".into(), value: "To Be Filled By O.E.M.".into() }],
        ..Facts::default()
    }
}

fn mk_node() -> Node {
    Node {
        id: "7f3c".into(),
        name: "n1".into(),
        cluster: "prod".into(),
        pool: "worker".into(),
        role: "worker".into(),
        phase: "Ready".into(),
        phase_since: at(300),
        assurance: "Bound".into(),
        key_fingerprint: "sha256:abab".into(),
        facts_revision: 2,
        facts: Some(mk_facts()),
        connected: true,
        rehearsed: true,
        attempt: 1,
        created: at(600),
        last_seen: at(1),
        agent_version: "0.1.0".into(),
        certificate_not_after: at(-86_400),
        generation: 1,
        ..Node::default()
    }
}

fn mk_waiting() -> Node {
    Node { id: "aa01".into(), phase: "PendingApproval".into(), created: at(5), ..Node::default() }
}

#[test]
fn the_table_marks_rehearsed_results_and_shows_an_id_for_want_of_a_name() {
    assert_eq!(
        node_table(&[mk_node(), mk_waiting()], false, noon()).render(false),
        "NAME   ROLE     PHASE               AGE   ATTEMPT\n\
         n1     worker   Ready (rehearsed)   10m   1\n\
         aa01   <none>   PendingApproval     5s    0\n"
    );
}

#[test]
fn the_wide_table_adds_identity() {
    assert_eq!(
        node_table(&[mk_node()], true, noon()).render(false),
        "NAME   ROLE     PHASE               AGE   ATTEMPT   ID     CLUSTER   POOL     FINGERPRINT   UUID   MAC                 \
         ADDRESS     AGENT\n\
         n1     worker   Ready (rehearsed)   10m   1         7f3c   prod      worker   sha256:abab   7a0f   52:54:00:12:34:ac   \
         192.0.2.7   0.1.0\n"
    );
}

#[test]
fn phases_are_coloured_by_whether_somebody_is_needed() {
    let painted = |phase: &str| node_table(&[Node { phase: phase.into(), ..mk_node() }], false, noon()).render(true);
    assert!(painted("Ready").contains("\u{1b}[32mReady (rehearsed)\u{1b}[0m"));
    assert!(painted("JoiningEtcd").contains("\u{1b}[33mJoiningEtcd\u{1b}[0m"));
    assert!(painted("Failed(TokenExpired)").contains("\u{1b}[31mFailed(TokenExpired)\u{1b}[0m"));
}

#[test]
fn a_phase_with_a_reason_is_that_phase() {
    let node = Node { phase: "Failed(TokenExpired)".into(), ..Node::default() };
    assert!(is_phase(&node, "Failed") && is_phase(&node, "failed(tokenexpired)"));
    assert!(!is_phase(&node, "Ready") && !is_phase(&mk_node(), "Read"));
}

#[test]
fn a_description_has_all_sections_and_ends_with_events() {
    let mut node = mk_node();
    node.phase = "Failed(TokenExpired)".into();
    node.steps = vec![StepStatus {
        id: "join".into(),
        state: "Running".into(),
        started: at(70),
        elapsed_ms: 65_000,
        ..StepStatus::default()
    }];
    node.failure = Some(LastFailure {
        step: "join".into(),
        cause: "TokenExpired".into(),
        message: "the token\u{7} is gone".into(),
        rule: "RetryWithFreshCredentials".into(),
        failures: 2,
        at: at(30),
        retry_at: at(-30),
    });
    let ms = |ago: i64| u64::try_from((noon().as_second() - ago) * 1000).unwrap();
    node.timeline = vec![
        PhaseTime { phase: "Preflight".into(), entered_unix_ms: ms(400), left_unix_ms: ms(360) },
        PhaseTime { phase: "Joining".into(), entered_unix_ms: ms(360), left_unix_ms: 0 },
    ];
    let event = Event {
        at: at(30),
        r#type: "Warning".into(),
        reason: "StepFailed".into(),
        node_name: "n1".into(),
        ..Event::default()
    };
    let mut fields = node_fields(&node, noon());
    events_below(&mut fields, &[event], noon());
    assert_eq!(fields.render(), include_str!("description.txt"));
}

#[test]
fn only_the_last_twenty_events_are_described() {
    let events: Vec<Event> = (0..25).map(|n| Event { reason: format!("E{n}"), ..Event::default() }).collect();
    let mut fields = Fields::default();
    events_below(&mut fields, &events, noon());
    let text = fields.render();
    assert!(!text.contains("E4 ") && text.contains("E5 ") && text.contains("E24 "), "{text}");
    let mut none = Fields::default();
    events_below(&mut none, &[], noon());
    assert_eq!(none.render(), "Events:\n  <none>\n");
}
