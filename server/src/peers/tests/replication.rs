//! What a group does over the wire when nothing is wrong with its members.

use std::time::Instant;

use super::*;
use group::*;

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_elect_replicate_and_forward() {
    let mut fleet = Fleet::new();
    let members = fleet.three().await;
    assert!(members[0].leads());
    for (member, expected) in members.iter().zip(1..) {
        assert_eq!(member.write(format!("by {}", member.id)).await, expected, "followers hand it to the leader");
        assert_eq!(member.texts().len() as u64, expected, "who has a reply reads what it wrote");
    }
    let expected = ["by 1", "by 2", "by 3"];
    for member in &members {
        let read = member.consensus.linearizable_read(LONG, |toy| toy.notes.len()).await;
        assert_eq!(read, Ok(3), "server {}", member.id);
        assert_eq!(member.texts(), expected);
    }
    let [leader, second, third] = members;
    leader.stop().await;
    let next = until("another leader", || [&second, &third].into_iter().find(|member| member.leads())).await;
    next.write("after").await;
    for member in [&second, &third] {
        until("the note", || (member.texts().len() == 4).then_some(())).await;
    }
    second.stop().await;
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over_by_a_word() {
    let mut fleet = Fleet::new();
    let members = fleet.three().await;
    let kept_up = || members[0].consensus.status().members[&2].lag_entries == Some(0);
    until("server 2 to keep up", || kept_up().then_some(())).await;
    members[0].consensus.hand_over_leadership(2).await.unwrap();
    until("server 2 to lead", || members[1].leads().then_some(())).await;
    members[0].write("by the one that led").await;
    for member in members {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_server_gets_a_snapshot_of_many_pieces() {
    let mut fleet = Fleet::new();
    fleet.snapshot_every = 40;
    let founder = fleet.start(1).await;
    founder.consensus.initialize(founder.peer.clone()).await.unwrap();
    founder.consensus.wait_ready(LONG).await.unwrap();
    let note = |number: u32| format!("{number}{}", "x".repeat(30_000));
    for number in 0..130 {
        founder.write(note(number)).await;
    }
    until("the log's beginning to be purged", || founder.consensus.status().purged_index).await;
    let learner = fleet.start(2).await;
    founder.consensus.add_learner(2, learner.peer.clone()).await.unwrap();
    until("the learner to catch up", || (learner.texts().len() == 130).then_some(())).await;
    assert_eq!(learner.texts(), (0..130).map(note).collect::<Vec<_>>());
    let snapshot = learner.consensus.status().snapshot_index;
    assert!(snapshot.is_some(), "what was purged can only have come by a snapshot");
    founder.stop().await;
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_accepts_and_says_nothing_holds_up_nobody() {
    let mut fleet = Fleet::new();
    let [leader, second, third] = fleet.three().await;
    let address = third.peer.address.clone();
    third.stop().await;
    // From now on somebody is there at its address who never says a word.
    let mute = tokio::net::TcpListener::bind(&address).await.unwrap();
    let mute = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = mute.accept().await {
            held.push(stream);
        }
    });
    let term = leader.consensus.status().term;
    let began = Instant::now();
    for number in 0..50 {
        leader.write(number.to_string()).await;
    }
    assert!(began.elapsed() < LONG / 6, "{:?}", began.elapsed());
    assert_eq!(leader.consensus.status().term, term, "no election");
    until("the other follower", || (second.texts().len() == 50).then_some(())).await;
    mute.abort();
    leader.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_is_reached_again() {
    let mut fleet = Fleet::new();
    let [leader, second, third] = fleet.three().await;
    third.stop().await;
    leader.write("without it").await;
    let third = fleet.start(3).await;
    until("the note", || (third.texts() == ["without it"]).then_some(())).await;
    for member in [leader, second, third] {
        member.stop().await;
    }
}
