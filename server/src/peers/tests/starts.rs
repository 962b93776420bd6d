//! Starts: the gate, greetings, and servers whose data went back.

use super::*;
use crate::peers::greet::{NotWelcome, Refused};
use group::*;

fn refused(answer: Result<(), NotWelcome>) -> Refused {
    match answer {
        Err(NotWelcome::Refused(refused)) => refused,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_takes_part_once_it_is_welcome() {
    let mut fleet = Fleet::new();
    let [leader, second, third] = fleet.three().await;
    third.stop().await;
    leader.write("without it").await;
    let third = fleet.start_shut(3).await;
    let mut greeter = third.greeter(&fleet, 2, &[1, 2]);
    assert!(!third.gate.lets_through(1) && third.texts().is_empty());
    greeter.first().await.unwrap();
    greeter.rest().await.unwrap();
    until("the note", || (third.texts() == ["without it"]).then_some(())).await;
    for member in [leader, second, third] {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_did_not_answer_is_waited_for_and_spoken_to_when_it_is_back() {
    let mut fleet = Fleet::new();
    let [leader, second, third] = fleet.three().await;
    second.stop().await;
    third.stop().await;
    let third = fleet.start_shut(3).await;
    let mut greeter = third.greeter(&fleet, 2, &[1, 2]);
    greeter.first().await.unwrap();
    assert!(third.gate.lets_through(1) && !third.gate.lets_through(2));
    let (rest, second) = tokio::join!(greeter.rest(), fleet.start(2));
    rest.unwrap();
    assert!(third.gate.lets_through(2));
    leader.write("all are here").await;
    for member in [leader, second, third] {
        until("the note", || (member.texts() == ["all are here"]).then_some(())).await;
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_alone_has_nobody_to_greet() {
    let mut fleet = Fleet::new();
    let alone = fleet.start_shut(1).await;
    let mut greeter = alone.greeter(&fleet, 1, &[]);
    greeter.first().await.unwrap();
    greeter.rest().await.unwrap();
    assert!(alone.gate.lets_through(2), "who joins later need not be greeted");
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
    until("the leader to know", || (leader.consensus.status().members[&3].lag_entries == Some(0)).then_some(())).await;
    third.stop().await;
    std::fs::remove_dir_all(&home).unwrap();
    copy(&kept, &home);
    let third = fleet.start_shut(3).await;
    let ends_at = third.consensus.status().last_log_index.unwrap();
    assert!(ends_at < acknowledged);
    let answer = third.greeter(&fleet, 3, &[1, 2]).first().await;
    assert_eq!(refused(answer), Refused::LostLog { ends_at, acknowledged });
    assert!(!third.gate.lets_through(1), "it stays outside");
    for member in [leader, second, third] {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_of_one_copy_is_seen() {
    let mut fleet = Fleet::new();
    let [leader, second, third] = fleet.three().await;
    third.stop().await;
    let third = fleet.start_shut(3).await;
    third.greeter(&fleet, 7, &[1]).first().await.unwrap();
    third.stop().await;
    let copy = fleet.start_shut(3).await;
    let answer = copy.greeter(&fleet, 7, &[1]).first().await;
    assert_eq!(refused(answer), Refused::StaleGeneration { generation: 7, known: 7 });
    for member in [leader, second, copy] {
        member.stop().await;
    }
}
