//! Reading: get, describe, status, events, logs, version.

use muster_proto::admin::v1::{Event, LogLine, Permit, Token};

use super::*;

#[tokio::test]
async fn nodes_are_listed_in_a_table() {
    let ran = run("get nodes", mk_world()).await;
    assert_eq!(ran.outcome, Ok(Exit::Done));
    assert_eq!(
        ran.out,
        "NAME   ROLE     PHASE             AGE   ATTEMPT\n\
         n1     worker   Ready             60s   1\n\
         n2     worker   Joining           60s   1\n\
         aa01   worker   PendingApproval   60s   1\n"
    );
    assert_eq!(ran.err, "");
}

#[tokio::test]
async fn an_empty_list_is_words_for_people_and_an_empty_list_for_programs() {
    let ran = run("get nodes", World::default()).await;
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", "nothing found\n"));
    let ran = run("get nodes -o json", World::default()).await;
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(value, serde_json::json!({"apiVersion": "muster/v1", "kind": "NodeList", "items": []}));
}

#[tokio::test]
async fn one_node_is_a_node_and_not_a_list() {
    let ran = run("get nodes 7f3 -o json", mk_world()).await;
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&value["kind"], &value["id"]), (&"Node".into(), &"7f3c".into()));
    let ran = run("get node n1 -o name", mk_world()).await;
    assert_eq!(ran.out, "node/7f3c\n");
    let ran = run("get node n1 -o yaml", mk_world()).await;
    let value: serde_json::Value = serde_saphyr::from_str(&ran.out).unwrap();
    assert_eq!(value["name"], "n1");
}

#[tokio::test]
async fn an_id_that_is_not_one_node_is_a_conflict() {
    let ran = run("get node 7f", mk_world()).await;
    assert_eq!(ran.failure().exit, Exit::Conflict);
    assert!(ran.failure().message.contains("7f3c (n1), 7f99 (n2)"), "{}", ran.failure());
    let ran = run("get node zz", mk_world()).await;
    assert_eq!((ran.failure().exit, ran.failure().message.as_str()), (Exit::Conflict, "no node \"zz\""));
}

#[tokio::test]
async fn labels_pick_among_nodes_and_nothing_else_has_them() {
    let mut world = mk_world();
    world.nodes[1].facts.as_mut().unwrap().labels.insert("rack".into(), "r1".into());
    let ran = run("get nodes -l rack=r1 -o name", world).await;
    assert_eq!(ran.out, "node/7f99\n");
    assert_eq!(run("get permits -l rack=r1", mk_world()).await.failure().exit, Exit::Usage);
}

#[tokio::test]
async fn a_token_keeps_its_own_kind_inside_a_list() {
    let token = Token { id: "abcd1234".into(), kind: "enrolment".into(), ..Token::default() };
    let world = || World { tokens: vec![token.clone()], ..mk_world() };
    let value: serde_json::Value = serde_json::from_str(&run("get tokens abcd -o json", world()).await.out).unwrap();
    assert_eq!((&value["kind"], &value["items"][0]["kind"]), (&"TokenList".into(), &"enrolment".into()));
    assert_eq!(run("token list -o name", world()).await.out, "token/abcd1234\n");
}

#[tokio::test]
async fn clusters_pools_and_permits_are_listed() {
    assert_eq!(run("get clusters -o name", mk_world()).await.out, "cluster/prod\n");
    assert_eq!(run("cluster list -o name", mk_world()).await.out, "cluster/prod\n");
    assert_eq!(run("get pools -o name", mk_world()).await.out, "pool/prod/cp\npool/prod/w\n");
    let value: serde_json::Value = serde_json::from_str(&run("get pool w -o json", mk_world()).await.out).unwrap();
    assert_eq!((&value["kind"], &value["cluster"], &value["role"]), (&"Pool".into(), &"prod".into(), &"worker".into()));
    assert_eq!(run("get pool zz", mk_world()).await.failure().exit, Exit::Conflict);
    let permit = Permit { cluster: "prod".into(), kind: "init".into(), ..Permit::default() };
    let world = World { permits: vec![permit], ..mk_world() };
    assert_eq!(run("get permits -o name", world).await.out, "permit/prod/init\n");
}

#[tokio::test]
async fn watching_nodes_prints_one_header_and_only_what_changed() {
    let mut world = mk_world();
    world.moves = vec![mk_node("7f3c", "n1", "Ready"), mk_node("7f99", "n2", "Ready")];
    let (out, _) = run_until("get nodes -w", world, |written| written.out().lines().count() == 5).await;
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().take(3).collect()).collect();
    assert_eq!(
        lines,
        [
            ["NAME", "ROLE", "PHASE"],
            ["n1", "worker", "Ready"],
            ["n2", "worker", "Joining"],
            ["aa01", "worker", "PendingApproval"],
            ["n2", "worker", "Ready"],
        ]
    );
    let column = |line: &str, word: &str| line.find(word).unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(column(lines[0], "PHASE"), column(lines[4], "Ready"));
}

#[tokio::test]
async fn watching_as_json_is_one_document_per_line() {
    let (out, _) = run_until("get nodes -w -o json", mk_world(), |written| written.out().lines().count() == 3).await;
    for line in out.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["kind"], "Node");
    }
}

#[tokio::test]
async fn a_watch_without_a_stream_asks_again_and_prints_what_changed() {
    let (session, fake) = mk_session(mk_world()).await;
    let cli = parse("get clusters -w -o name");
    let (mut console, written) = mk_console(cli.globals.output);
    let running = Box::pin(call(cli.command, &session, &cli.globals, &mut console));
    let changing = async {
        while written.out().is_empty() {
            tokio::task::yield_now().await;
        }
        fake.world().clusters.push(mk_cluster("lab"));
        while written.out() != "cluster/prod\ncluster/lab\n" {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        outcome = running => panic!("it ended: {:?}", outcome.err()),
        () = changing => {}
    }
}

#[tokio::test]
async fn describing_a_node_ends_with_events_and_the_next_action() {
    let mut world = mk_world();
    world.nodes[2].next = "muster node approve aa01".into();
    world.events = vec![Event { reason: "Enrolled".into(), at: at(5), ..Event::default() }];
    let ran = run("describe node aa01", world).await;
    assert!(ran.out.contains("Key fingerprint:  sha256:abab"), "{}", ran.out);
    let end: Vec<&str> = ran.out.lines().rev().take(3).collect();
    assert_eq!(end[0], "Next: muster node approve aa01");
    assert!(end[1].contains("Enrolled"), "{}", ran.out);
    assert_eq!(ran.fake.world().event_requests[0].node, "aa01");
}

#[tokio::test]
async fn a_thing_to_describe_may_be_written_in_one_word_or_two() {
    for line in ["describe cluster prod", "describe cluster/prod", "cluster describe prod"] {
        assert!(run(line, mk_world()).await.out.starts_with("Name:             prod\n"), "{line}");
    }
    for line in ["describe node", "describe pool w", "describe node/a b"] {
        assert_eq!(run(line, mk_world()).await.failure().exit, Exit::Usage, "{line}");
    }
}

#[tokio::test]
async fn status_prints_before_its_exit_code_tells() {
    let ran = run("status", mk_world()).await;
    assert_eq!(ran.outcome, Ok(Exit::Done));
    assert!(ran.out.contains("server 1 (this one)"), "{}", ran.out);
    let sealed = World { status: Status { sealed: true, ..mk_status() }, ..World::default() };
    let ran = run("status -o json", sealed).await;
    assert_eq!(ran.outcome, Ok(Exit::Sealed));
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&value["kind"], &value["sealed"]), (&"Status".into(), &true.into()));
}

#[tokio::test]
async fn events_are_asked_for_by_node_and_time() {
    let world = World { events: vec![Event { sequence: 4, ..Event::default() }], ..mk_world() };
    let ran = run("events --node n1 --since 1h -o name", world).await;
    assert_eq!(ran.out, "event/4\n");
    let request = ran.fake.world().event_requests[0].clone();
    assert_eq!((request.node.as_str(), request.since), ("7f3c", at(3600)));
}

#[tokio::test]
async fn watched_events_come_as_they_happen() {
    let event = |sequence| Event { sequence, at: at(1), r#type: "Normal".into(), ..Event::default() };
    let world = World { events: vec![event(1), event(2)], ..mk_world() };
    let (out, _) = run_until("events -w", world, |written| written.out().lines().count() == 3).await;
    assert!(out.starts_with("AGE "), "{out}");
}

#[tokio::test]
async fn logs_are_the_text_and_cannot_steer_the_terminal() {
    let line = LogLine { at: at(0), step: "join".into(), text: "[preflight] \u{1b}]0;x\u{7} ok".into() };
    let world = || World { logs: vec![line.clone()], ..mk_world() };
    let ran = run("logs node/n1", world()).await;
    assert_eq!((ran.outcome, ran.out.as_str()), (Ok(Exit::Done), "[preflight] \\u{1b}]0;x\\u{7} ok\n"));
    let ran = run("logs n1 -o wide", world()).await;
    assert!(ran.out.starts_with("2026-11-22T12:00:00Z join [preflight]"), "{}", ran.out);
}

#[tokio::test]
async fn a_version_without_a_server_is_still_this_programs() {
    let ran = run("version", mk_world()).await;
    assert_eq!(ran.out, "client: 0.1.0\nserver: 0.1.0\n");
    let ran = run("version -o json", World { refuse: Some(tonic::Status::unavailable("x")), ..World::default() }).await;
    assert_eq!(ran.failure().exit, Exit::Unreachable);
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(value, serde_json::json!({"apiVersion": "muster/v1", "kind": "Version", "client": "0.1.0"}));
}

#[tokio::test]
async fn a_refusal_has_its_exit_and_its_words() {
    let refusals = [
        (tonic::Status::permission_denied("operators only"), Exit::NotAllowed),
        (tonic::Status::unavailable("no leader"), Exit::Unreachable),
        (tonic::Status::invalid_argument("bad"), Exit::Invalid),
    ];
    for (refusal, exit) in refusals {
        let said = refusal.message().to_owned();
        let ran = run("get nodes", World { refuse: Some(refusal), ..World::default() }).await;
        assert_eq!(ran.failure().exit, exit);
        assert!(ran.failure().message.contains(&said), "{}", ran.failure());
    }
}
