//! What is asked of the leader for an operator, by whichever server took the operator's call.

use super::*;
use crate::consensus::{MembershipError, TransportError};
use group::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_tells_any_member_how_the_group_is_doing_and_the_others_name_it() {
    let mut fleet = Fleet::new();
    let members = fleet.three().await;
    let [leader, second, third] = &members;
    leader.write("a note").await;
    let progress = || second.client.progress(1, &leader.peer, LONG);
    let seen = loop {
        let seen = progress().await.unwrap().unwrap().seen_from(1, second.consensus.status());
        if seen.members.values().all(|member| member.silence_ms.is_some()) {
            break seen;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((seen.id, seen.leader, seen.last_log_index), (1, Some(1), leader.consensus.status().last_log_index));
    assert_eq!(seen.members.len(), 3);
    let of_a_follower = third.client.progress(2, &second.peer, LONG).await.unwrap();
    assert_eq!(of_a_follower, Err(Some(1)));
    for member in members {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_voter_may_have_the_leader_step_down_and_nobody_else() {
    let mut fleet = Fleet::new();
    let members = fleet.three().await;
    let [leader, second, third] = &members;
    let learner = fleet.start(4).await;
    leader.consensus.add_learner(4, learner.peer.clone()).await.unwrap();
    until("the learner to know the group", || learner.consensus.status().leader).await;
    let refused = learner.client.hand_over(1, &leader.peer, 3, LONG).await;
    assert!(matches!(&refused, Err(TransportError::Refused(why)) if why.contains("does not vote")), "{refused:?}");
    let kept_up = || leader.consensus.status().members[&3].lag_entries == Some(0);
    until("server 3 to keep up", || kept_up().then_some(())).await;
    let nobody = second.client.hand_over(1, &leader.peer, 4, LONG).await.unwrap();
    assert_eq!(nobody, Err(MembershipError::CannotLead(4)));
    assert_eq!(second.client.hand_over(1, &leader.peer, 3, LONG).await.unwrap(), Ok(()));
    until("server 3 to lead", || third.leads().then_some(())).await;
    let late = second.client.hand_over(1, &leader.peer, 2, LONG).await.unwrap();
    assert_eq!(late, Err(MembershipError::NotLeader { leader: Some(3) }));
    for member in members.into_iter().chain([learner]) {
        member.stop().await;
    }
}
