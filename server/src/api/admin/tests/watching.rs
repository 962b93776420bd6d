//! Streams: nothing left out, nothing twice, and an end.

use muster_proto::admin::v1::{
    Event, FollowLogsRequest, ListEventsRequest, ListNodesRequest, admin_service_server::AdminService as _,
};
use muster_state::command::{LockNode, RecordDetached, UnlockNode};
use tokio::task::JoinSet;
use tonic::Code;

use super::harness::{Served, apply, next, node_request, spec};
use crate::api::admin::stream::Streamed;

const A: &str = "6e0f3a51-0000-4000-8000-000000000001";
const B: &str = "6e0f7777-0000-4000-8000-000000000002";

async fn watch_events(served: &Served, after: u64) -> Streamed<Event> {
    let body = ListEventsRequest { after, ..ListEventsRequest::default() };
    served.admin.watch_events(served.ask(body)).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_once_in_order_and_a_watch_resumes_after_the_last() {
    let served = Served::start().await;
    let mut stream = watch_events(&served, 0).await;
    let writer = async {
        for n in 0..300 {
            served.enrol(&format!("6e0f3a51-0000-4000-8000-{n:012}")).await;
        }
        served.server().ledger.read(|state| state.last_event)
    };
    let reader = async {
        for sequence in 1..=150 {
            assert_eq!(next(&mut stream).await.unwrap().unwrap().sequence, sequence);
        }
        // Broken off in the middle, and taken up again.
        drop(stream);
        let mut stream = watch_events(&served, 150).await;
        for sequence in 151..=300 {
            assert_eq!(next(&mut stream).await.unwrap().unwrap().sequence, sequence);
        }
        stream
    };
    let (last, mut stream) = tokio::join!(writer, reader);
    for sequence in 301..=last {
        assert_eq!(next(&mut stream).await.unwrap().unwrap().sequence, sequence);
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_too_slow_for_what_is_kept_is_told_so() {
    let served = Served::start().await;
    let mut stream = watch_events(&served, 0).await;
    let first = next(&mut stream).await.unwrap().unwrap().sequence;
    served.enrol(A).await;
    let kept = muster_state::limits::EVENTS_MAX as u64;
    // More than is kept and than waits for a reader, while nobody reads.
    while served.server().ledger.read(|state| state.last_event) < kept + 1000 {
        let mut locks = JoinSet::new();
        for n in 0..1000 {
            let (ledger, node) = (served.server().ledger.clone(), A.into());
            locks.spawn(async move {
                if n % 2 == 0 {
                    ledger.propose(LockNode { node, reason: "a test".into() }).await.unwrap();
                } else {
                    ledger.propose(UnlockNode { node }).await.unwrap();
                }
            });
        }
        locks.join_all().await;
    }
    let mut reached = first;
    let lost = loop {
        match next(&mut stream).await {
            Some(Ok(event)) => {
                assert_eq!(event.sequence, reached + 1, "a gap was not told");
                reached = event.sequence;
            }
            Some(Err(status)) => break status,
            None => panic!("it ended without a word"),
        }
        assert!(reached < kept, "nothing was lost");
    };
    assert_eq!(lost.code(), Code::DataLoss);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_shown_as_they_are_and_then_each_that_changes() {
    let served = Served::start().await;
    served.admin.apply_cluster(served.ask(apply("r0", spec(), false))).await.unwrap();
    served.enrol(A).await;
    served.approve(A, "cp-1").await;
    let mut stream = served.admin.watch_nodes(served.ask(ListNodesRequest::default())).await.unwrap().into_inner();
    let node = next(&mut stream).await.unwrap().unwrap();
    assert_eq!((node.id.as_str(), node.phase.as_str(), node.connected), (A, "Approved", false));

    served.enrol(B).await;
    assert_eq!(next(&mut stream).await.unwrap().unwrap().id, B);
    let first = served.attach(A, 1).await;
    let node = next(&mut stream).await.unwrap().unwrap();
    assert_eq!((node.id.as_str(), node.connected), (A, true));
    // The end of a stream counts only if there is no newer one; what changes no view is not sent.
    let detach = |stream| served.server().ledger.propose(RecordDetached { node: A.into(), stream });
    let second = served.attach(A, 2).await;
    detach(first).await.unwrap();
    served.admin.lock_node(served.ask(node_request("r1", A))).await.unwrap();
    let node = next(&mut stream).await.unwrap().unwrap();
    assert_eq!((node.id.as_str(), node.phase.as_str(), node.connected), (A, "Locked", true));
    detach(second).await.unwrap();
    let node = next(&mut stream).await.unwrap().unwrap();
    assert_eq!((node.id.as_str(), node.connected), (A, false));
    served.admin.remove_node(served.ask(node_request("r2", A))).await.unwrap();
    served.admin.deny_node(served.ask(node_request("r3", B))).await.unwrap();
    let node = next(&mut stream).await.unwrap().unwrap();
    assert_eq!((node.id.as_str(), node.phase.as_str()), (B, "Denied"), "a removal ends silently");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_streams_end_when_the_server_stops() {
    let served = Served::start().await;
    served.enrol(A).await;
    let admin = &served.admin;
    let mut nodes = admin.watch_nodes(served.ask(ListNodesRequest::default())).await.unwrap().into_inner();
    let mut events = watch_events(&served, 0).await;
    let follow = FollowLogsRequest { node: A.into(), no_follow: false };
    let mut logs = admin.follow_logs(served.ask(follow)).await.unwrap().into_inner();
    served.server().stopping.cancel();
    while next(&mut nodes).await.is_some() {}
    while next(&mut events).await.is_some() {}
    while next(&mut logs).await.is_some() {}
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_a_node_that_is_not_there_are_refused() {
    let served = Served::start().await;
    let follow = FollowLogsRequest { node: A.into(), no_follow: true };
    let refused = served.admin.follow_logs(served.ask(follow)).await.err().unwrap();
    assert_eq!(refused.code(), Code::NotFound);
    served.stop().await;
}
