//! Waiting, over streams that break and for what takes too long.

use super::*;

#[tokio::test]
async fn a_node_that_is_already_so_ends_the_wait_at_once() {
    let ran = run("wait node/n1 --for phase=Ready", mk_world()).await;
    assert_eq!((ran.outcome, ran.out.as_str()), (Ok(Exit::Done), "node/7f3c is Ready\n"));
}

#[tokio::test]
async fn programs_get_the_node_that_was_waited_for() {
    let ran = run("wait node/n1 --for phase=Ready -o json", mk_world()).await;
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&value["kind"], &value["id"]), (&"Node".into(), &"7f3c".into()));
}

#[tokio::test]
async fn progress_is_told_until_the_phase_is_reached() {
    let mut world = mk_world();
    let rehearsed = Node { rehearsed: true, ..mk_node("7f99", "n2", "Ready") };
    let waiting = Node { message: "kubelet is not up".into(), ..mk_node("7f99", "n2", "WaitingForNodeReady") };
    world.moves = vec![waiting, mk_node("7f3c", "n1", "Failed"), rehearsed];
    let ran = run("wait node/n2 --for phase=Ready", world).await;
    assert_eq!(ran.out, "node/7f99 is Ready (rehearsed)\n");
    assert_eq!(ran.err, "n2: Joining\nn2: WaitingForNodeReady (kubelet is not up)\n");
}

#[tokio::test]
async fn a_node_that_never_gets_there_times_out_with_what_was_seen_last() {
    let ran = run("wait node/n2 --for phase=Ready --timeout 1500ms", mk_world()).await;
    assert_eq!(ran.failure().exit, Exit::TimedOut);
    assert!(ran.failure().message.ends_with("last seen: n2: Joining"), "{}", ran.failure());
    assert_eq!(ran.failure().next.as_deref(), Some("muster describe node n2"));
}

#[tokio::test]
async fn a_node_that_is_not_here_yet_is_waited_for() {
    let (session, fake) = mk_session(mk_world()).await;
    let cli = parse("wait node/n7 --for phase=Ready");
    let (mut console, written) = mk_console(cli.globals.output);
    let running = Box::pin(call(cli.command, &session, &cli.globals, &mut console));
    let enrolling = async {
        while written.err().is_empty() {
            tokio::task::yield_now().await;
        }
        fake.world().nodes.push(mk_node("bb01", "n7", "Ready"));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        outcome = running => assert_eq!(outcome, Ok(Exit::Done)),
        () = enrolling => {}
    }
    assert_eq!(written.out(), "node/bb01 is Ready\n");
    assert_eq!(written.err(), "no node \"n7\": waiting for it to enrol\n");
}

#[tokio::test]
async fn a_cluster_is_waited_for_until_the_server_counts_enough() {
    let (session, fake) = mk_session(mk_world()).await;
    let cli = parse("wait cluster/prod --for control-planes=1,workers=2");
    let (mut console, written) = mk_console(cli.globals.output);
    {
        let mut world = fake.world();
        world.nodes.iter_mut().for_each(|node| node.cluster = "prod".into());
        world.clusters[0].control_planes_ready = 1;
        world.clusters[0].workers_ready = 1;
    }
    let running = Box::pin(call(cli.command, &session, &cli.globals, &mut console));
    let counting = async {
        while written.err().lines().count() < 3 {
            tokio::task::yield_now().await;
        }
        fake.world().clusters[0].workers_ready = 2;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        outcome = running => assert_eq!(outcome, Ok(Exit::Done)),
        () = counting => {}
    }
    assert_eq!(written.out(), "cluster/prod is Ready: control planes 1/1, workers 2/2\n");
}

#[tokio::test]
async fn a_wait_outlives_an_election() {
    let (session, fake) = mk_session(mk_world()).await;
    let cli = parse("wait cluster/prod --for workers=1");
    let (mut console, written) = mk_console(cli.globals.output);
    let running = Box::pin(call(cli.command, &session, &cli.globals, &mut console));
    let electing = async {
        while written.err().is_empty() {
            tokio::task::yield_now().await;
        }
        let before = fake.world().calls;
        fake.world().refuse = Some(tonic::Status::unavailable("no leader"));
        while fake.world().calls < before + 2 {
            tokio::task::yield_now().await;
        }
        fake.world().refuse = None;
        fake.world().clusters[0].workers_ready = 1;
        std::future::pending::<()>().await;
    };
    fake.world().nodes[0].cluster = "prod".into();
    tokio::select! {
        outcome = running => assert_eq!(outcome, Ok(Exit::Done)),
        () = electing => {}
    }
}

#[tokio::test]
async fn a_cluster_that_stays_short_times_out() {
    let ran = run("wait cluster/prod --for workers=5 --timeout 1500ms", mk_world()).await;
    assert_eq!(ran.failure().exit, Exit::TimedOut);
    assert!(ran.failure().message.ends_with("last seen: control planes 0/0, workers 0/5"), "{}", ran.failure());
}

#[tokio::test]
async fn a_condition_of_the_wrong_kind_is_refused() {
    assert_eq!(run("wait node/n1 --for workers=1", mk_world()).await.failure().exit, Exit::Usage);
    assert_eq!(run("wait cluster/prod --for phase=Ready", mk_world()).await.failure().exit, Exit::Usage);
    assert_eq!(run("wait cluster/zz --for workers=1", mk_world()).await.failure().exit, Exit::Conflict);
}
