use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::consensus::mesh::{Group, peer, texts, until, write};
use crate::consensus::parts::STOP_WAIT_MAX;
use crate::consensus::{ReadError, Role};

const MANY: u64 = 1_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_elect_one_and_hold_the_same() {
    let group = Group::of(&[1, 2, 3], MANY).await;
    for number in 0..10 {
        write(&group.leader().await, &number.to_string()).await.unwrap();
    }
    group.agree(&[1, 2, 3]).await;
    assert_eq!(texts(&group.server(3)).len(), 10);
    let status = group.leader().await.status();
    assert_eq!((status.voters().collect::<Vec<_>>(), status.joint), (vec![1, 2, 3], false));
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_others_go_on_when_the_leader_is_killed_and_it_comes_back_as_a_follower() {
    let mut group = Group::of(&[1, 2, 3], MANY).await;
    let leader = group.leader().await;
    write(&leader, "before").await.unwrap();
    let killed = leader.status().id;
    drop(leader);
    group.kill(killed);
    let next = group.leader().await;
    assert_ne!(next.status().id, killed);
    write(&next, "after").await.unwrap();
    group.start(killed).await;
    group.agree(&[1, 2, 3]).await;
    assert_eq!(texts(&group.server(killed)), ["before", "after"]);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_that_missed_the_log_gets_a_snapshot_and_can_vote_and_leave() {
    let mut group = Group::of(&[1, 2], 10).await;
    let leader = group.server(1);
    for number in 0..60 {
        write(&leader, &number.to_string()).await.unwrap();
    }
    until(|| leader.status().purged_index).await;
    let learner = group.start(3).await;
    leader.add_learner(3, peer(3)).await.unwrap();
    group.agree(&[1, 2, 3]).await;
    assert!(learner.status().snapshot_index.is_some());
    assert_eq!(learner.status().role, Role::Learner);
    leader.change_voters([1, 2, 3].into()).await.unwrap();
    until(|| (learner.status().role == Role::Follower).then_some(())).await;
    leader.remove(2).await.unwrap();
    assert_eq!(leader.status().members.keys().copied().collect::<Vec<_>>(), [1, 3]);
    write(&leader, "without 2").await.unwrap();
    group.agree(&[1, 3]).await;
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over_and_nothing_is_lost() {
    for voters in [vec![1, 2, 3], vec![1, 2, 3, 4, 5]] {
        let group = Group::of(&voters, MANY).await;
        write(&group.server(1), "before").await.unwrap();
        until(|| (group.server(1).status().members[&2].lag_entries == Some(0)).then_some(())).await;
        group.server(1).hand_over_leadership(2).await.unwrap();
        assert_eq!(group.leader().await.status().id, 2);
        let refused = group.server(1).hand_over_leadership(3).await;
        assert_eq!(refused, Err(MembershipError::NotLeader { leader: Some(2) }));
        until(|| (group.server(2).status().role == Role::Leader).then_some(())).await;
        write(&group.server(2), "after").await.unwrap();
        group.agree(&voters).await;
        group.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_leader_does_as_such_goes_on_until_another_is_elected_and_so_it_may_be_what_hands_over() {
    // With five voters the leader is silent for a while before the next one stands.
    let group = Group::of(&[1, 2, 3, 4, 5], MANY).await;
    let leader = group.server(1);
    until(|| (leader.status().members[&2].lag_entries == Some(0)).then_some(())).await;
    let mut leadership = leader.leadership();
    let term = leadership.wait_for(Option::is_some).await.unwrap().unwrap();
    let handed_over = leader.hand_over_leadership(2);
    let at_the_end = async {
        leadership.wait_for(|leads| *leads != Some(term)).await.unwrap();
        leader.status().term
    };
    let (handed_over, at_the_end) = tokio::join!(handed_over, at_the_end);
    assert_eq!(handed_over, Ok(()));
    assert!(at_the_end > term, "it may act as leader until somebody else is elected");
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stops_while_others_write_hands_over_and_does_not_wait_for_them_to_end() {
    let group = Group::of(&[1, 2, 3], MANY).await;
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..16)
        .map(|number| {
            let (server, done) = (group.server(2 + number % 2), done.clone());
            tokio::spawn(async move {
                let mut written = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    let text = format!("{number} {}", written.len());
                    write(&server, &text).await.unwrap();
                    written.push(text);
                }
                written
            })
        })
        .collect();
    until(|| (texts(&group.server(2)).len() > 100).then_some(())).await;
    let stopped = tokio::time::timeout(STOP_WAIT_MAX, group.server(1).shutdown()).await;
    assert!(stopped.is_ok(), "what others send never ends");
    assert!([2, 3].iter().any(|id| group.server(*id).status().role == Role::Leader), "it leads already");
    let there = texts(&group.server(2)).len();
    until(|| (texts(&group.server(2)).len() > there + 100).then_some(())).await;
    done.store(true, Ordering::Relaxed);
    let mut written = Vec::new();
    for writer in writers {
        written.extend(writer.await.unwrap());
    }
    group.agree(&[2, 3]).await;
    let mut there = texts(&group.server(3));
    there.sort_unstable();
    written.sort_unstable();
    assert_eq!(there, written, "each once");
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_knows_who_answers_and_followers_claim_nothing() {
    let mut group = Group::of(&[1, 2, 3], MANY).await;
    let leader = group.server(1);
    let silence = |id| leader.status().members[&id].silence_ms;
    until(|| (silence(1) == Some(0) && silence(2)? < 1_000 && silence(3)? < 1_000).then_some(())).await;
    assert!(group.server(2).status().members.values().all(|member| member.silence_ms.is_none()));
    group.kill(3);
    until(|| (silence(3)? > 1_000 && silence(2)? < 1_000).then_some(())).await;
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused() {
    let group = Group::of(&[1, 2, 3], MANY).await;
    let leader = group.server(1);
    assert_eq!(leader.change_voters([].into()).await, Err(MembershipError::NoVoter));
    assert_eq!(leader.change_voters([1, 9].into()).await, Err(MembershipError::NotALearner(9)));
    assert_eq!(leader.set_peer(9, peer(9)).await, Err(MembershipError::NotALearner(9)));
    assert_eq!(leader.hand_over_leadership(9).await, Err(MembershipError::CannotLead(9)));
    let follower = group.server(2);
    assert_eq!(follower.add_learner(9, peer(9)).await, Err(MembershipError::NotLeader { leader: Some(1) }));
    leader.remove(9).await.unwrap();
    leader.finish_joint().await.unwrap();
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_leader_finishes_a_joint_configuration() {
    let mut group = Group::of(&[1, 2, 3], MANY).await;
    let leader = group.server(1);
    group.start(4).await;
    leader.add_learner(4, peer(4)).await.unwrap();
    group.agree(&[1, 2, 3, 4]).await;
    // The new majority needs one of these, so the joint configuration is begun and does not commit.
    group.mesh.isolate(3);
    group.mesh.isolate(4);
    let change = tokio::spawn({
        let leader = leader.clone();
        async move { leader.change_voters([2, 3, 4].into()).await }
    });
    until(|| leader.status().joint.then_some(())).await;
    change.abort();
    let _ = change.await;
    group.mesh.mend();
    write(&leader, "in between").await.unwrap();
    drop(leader);
    group.kill(1);
    let next = group.leader().await;
    assert!(next.status().joint, "nobody has finished it");
    until_ok(async || next.finish_joint().await).await;
    let status = next.status();
    assert_eq!((status.voters().collect::<Vec<_>>(), status.joint), (vec![2, 3, 4], false));
    group.stop().await;
}

async fn until_refused(ask: impl AsyncFn() -> bool) {
    while !ask().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn until_ok(mut attempt: impl AsyncFnMut() -> Result<(), MembershipError>) {
    while let Err(error) = attempt().await {
        assert_eq!(error, MembershipError::Busy);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_left_is_refused_and_a_server_without_a_log_votes_for_nobody() {
    let mut group = Group::of(&[1, 2, 3], MANY).await;
    group.server(1).remove(3).await.unwrap();
    let door = group.server(2).peer();
    until(|| (!group.server(2).status().members.contains_key(&3)).then_some(())).await;
    let ballot = || openraft::raft::VoteRequest::new(openraft::Vote::new(99, 3), None);
    let append = || openraft::raft::AppendEntriesRequest {
        vote: openraft::Vote::new_committed(99, 3),
        prev_log_id: None,
        entries: Vec::new(),
        leader_commit: None,
    };
    assert!(door.vote(3, ballot()).await.is_err());
    assert!(door.append_entries(3, append()).await.is_err());
    assert!(door.read_index(3).await.is_err());
    assert!(door.campaign(3).await.is_err());
    assert_eq!(group.server(2).status().term, group.server(1).status().term);
    let fresh = group.start(4).await.peer();
    assert!(fresh.vote(1, ballot()).await.is_err());
    assert!(fresh.append_entries(1, append()).await.is_ok());
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_approved_out_of_turn_is_heard_and_who_left_since_is_not() {
    let mut group = Group::of(&[1, 2, 9], MANY).await;
    let door = group.server(2).peer();
    let ballot = || openraft::raft::VoteRequest::new(openraft::Vote::new(0, 8), None);
    // It joined, votes and stands, and this server has not heard of it.
    assert!(door.vote(8, ballot()).await.is_ok());
    group.start(8).await;
    group.server(1).add_learner(8, peer(8)).await.unwrap();
    group.server(1).remove(8).await.unwrap();
    until_refused(async || door.vote(8, ballot()).await.is_err()).await;
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_may_still_be_lost_is_not_said_to_be_made() {
    let mut group = Group::of(&[1, 2, 3], MANY).await;
    let leader = group.server(1);
    group.start(4).await;
    leader.add_learner(4, peer(4)).await.unwrap();
    group.mesh.isolate(1);
    // Nobody hears of it, so it stays open.
    let removing = leader.remove(4);
    let removed = until(|| (!leader.status().members.contains_key(&4)).then_some(()));
    tokio::select! {
        outcome = removing => panic!("{outcome:?}"),
        () = removed => {}
    }
    assert_eq!(leader.remove(4).await, Err(MembershipError::Busy));
    assert_eq!(leader.finish_joint().await, Err(MembershipError::Busy));
    drop(leader);
    group.mesh.mend();
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_away_learns_of_the_rest_from_a_leader_it_does_not_know() {
    let mut group = Group::of(&[1, 2, 3], MANY).await;
    group.mesh.isolate(3);
    let leader = group.server(1);
    group.start(4).await;
    leader.add_learner(4, peer(4)).await.unwrap();
    group.agree(&[1, 2, 4]).await;
    leader.change_voters([2, 3, 4].into()).await.unwrap();
    let next = until(|| {
        let status = group.server(4).status();
        status.leader.filter(|leader| *leader != 1 || status.voters().eq([2, 3, 4]))
    })
    .await;
    if next != 4 {
        until_led_by(&group, 4).await;
    }
    drop(leader);
    // Now a majority needs the one that was away, and the one that it has never heard of leads.
    group.kill(1);
    group.kill(2);
    group.mesh.mend();
    write(&group.leader().await, "together").await.unwrap();
    group.agree(&[3, 4]).await;
    assert_eq!(texts(&group.server(3)), ["together"]);
    group.stop().await;
}

async fn until_led_by(group: &Group, id: crate::consensus::ServerId) {
    loop {
        let leader = group.leader().await;
        if leader.status().leader == Some(id) {
            return;
        }
        let _ = leader.hand_over_leadership(id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_reads_what_the_leader_has_acknowledged_and_not_without_it() {
    let group = Group::of(&[1, 2, 3], MANY).await;
    for number in 0..20_u64 {
        write(&group.server(1), &number.to_string()).await.unwrap();
        let seen = group.server(3).linearizable_read(crate::consensus::mesh::LONG, |toy| toy.notes.len() as u64).await;
        assert_eq!(seen, Ok(number + 1));
    }
    group.mesh.isolate(3);
    let cut_off = group.server(3).linearizable_read(Duration::from_millis(200), |_| ()).await;
    assert!(matches!(cut_off, Err(ReadError::TimedOut | ReadError::NotLeader { .. })), "{cut_off:?}");
    group.stop().await;
}
