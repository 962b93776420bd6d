//! Lines of agents that another server keeps.

use std::time::Duration;

use super::*;
use crate::peers::logs::{Cursor, LogAsk};
use group::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_voter_reads_the_lines_that_another_server_keeps_and_waits_for_more_and_a_relay_reads_none() {
    let mut fleet = Fleet::new();
    let members = fleet.three().await;
    let [leader, second, third] = &members;
    let learner = fleet.start(4).await;
    leader.consensus.add_learner(4, learner.peer.clone()).await.unwrap();
    until("the learner to know the group", || learner.consensus.status().leader).await;
    let print = |text: &str| third.sessions.log(&"n".into(), "join", vec![text.to_owned()], 7);
    let ask = |after, wait| LogAsk { node: "n".into(), after, wait };
    print("one");
    print("two");
    let part = second.client.read_log(3, &third.peer, &ask(Cursor::default(), Duration::ZERO)).await.unwrap();
    assert_eq!(part.lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    let nothing = second.client.read_log(3, &third.peer, &ask(part.upto, Duration::ZERO)).await.unwrap();
    assert_eq!((nothing.upto, nothing.lines.len()), (part.upto, 0));

    let (waiting, printing) =
        tokio::join!(async { second.client.read_log(3, &third.peer, &ask(part.upto, LONG)).await.unwrap() }, async {
            print("three")
        });
    let () = printing;
    assert_eq!(waiting.lines.len(), 1);
    // Of another start nothing is left, so all that is there is new.
    let earlier = Cursor { start: part.upto.start + 1, sequence: 99 };
    assert_eq!(second.client.read_log(3, &third.peer, &ask(earlier, LONG)).await.unwrap().lines.len(), 3);

    let refused = learner.client.read_log(3, &third.peer, &ask(Cursor::default(), Duration::ZERO)).await;
    assert!(refused.unwrap_err().to_string().contains("does not vote"));
    for member in members.into_iter().chain([learner]) {
        member.stop().await;
    }
}
