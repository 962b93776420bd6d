//! Starts: the gate, greetings, and servers whose data went back.

use super::*;
use crate::consensus::types::Peers;
use crate::peers::greet::{Greeted, Greeter, Refused};
use group::*;

fn others(fleet: &Fleet, ids: [u64; 2]) -> Peers {
    ids.into_iter().map(|id| (id, fleet.peer(id).clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_takes_part_once_it_has_greeted() {
    let mut fleet = Fleet::new();
    let [leader, second, third] = fleet.three().await;
    third.stop().await;
    leader.write("without it").await;
    let third = fleet.start_shut(3).await;
    let mut greeter = Greeter::new(third.client.clone(), greeting(2, 9, &third).await, others(&fleet, [1, 2]));
    greeter.first().await.unwrap();
    assert_eq!(third.texts(), Vec::<String>::new(), "nothing came through the gate");
    third.gate.open();
    greeter.rest().await.unwrap();
    until("the note", || (third.texts() == ["without it"]).then_some(())).await;
    for member in [leader, second, third] {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_alone_has_nobody_to_greet() {
    let mut fleet = Fleet::new();
    let alone = fleet.start_shut(1).await;
    let mut greeter = Greeter::new(alone.client.clone(), greeting(1, 1, &alone).await, Peers::new());
    greeter.first().await.unwrap();
    greeter.rest().await.unwrap();
    alone.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_went_back_is_seen_by_those_who_counted_on_it() {
    let mut fleet = Fleet::new();
    let [leader, second, third] = fleet.three().await;
    leader.write("before").await;
    until("the note", || (third.texts().len() == 1).then_some(())).await;
    third.stop().await;
    let (home, kept) = (fleet.directory(3), fleet.directory(33));
    copy(&home, &kept);
    let third = fleet.start(3).await;
    leader.write("acknowledged").await;
    until("the note", || (third.texts().len() == 2).then_some(())).await;
    let acknowledged = third.consensus.status().last_log_index.unwrap();
    // The leader has heard of it.
    until("the leader to know", || (leader.consensus.status().members[&3].lag_entries == Some(0)).then_some(())).await;
    third.stop().await;
    std::fs::remove_dir_all(&home).unwrap();
    copy(&kept, &home);
    let third = fleet.start_shut(3).await;
    let hello = greeting(3, 9, &third).await;
    let ends_at = hello.last_index.unwrap();
    let refused = Greeter::new(third.client.clone(), hello, others(&fleet, [1, 2])).first().await;
    assert_eq!(refused, Err(Refused::LostLog { ends_at, acknowledged }));
    assert!(ends_at < acknowledged);
    for member in [leader, second, third] {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_of_one_copy_is_seen() {
    let mut fleet = Fleet::new();
    let [leader, second, third] = fleet.three().await;
    let first = third.client.greet(1, fleet.peer(1), &greeting(7, 1, &third).await, LONG).await;
    assert_eq!(first, Ok(Greeted::Welcome));
    let copy = third.client.greet(1, fleet.peer(1), &greeting(7, 2, &third).await, LONG).await;
    let stale = Refused::StaleGeneration { generation: 7, known: 7 };
    assert_eq!(copy, Ok(Greeted::Refused(stale)));
    for member in [leader, second, third] {
        member.stop().await;
    }
}
