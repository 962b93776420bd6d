use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::consensus::machine::toy::{Toy, Write};
use crate::consensus::mesh::{Group, LONG, peer, texts, until, write};
use crate::consensus::{Consensus, ProposeError, Role as Standing};

const MANY: u64 = 1_000_000;
const SOON: Duration = Duration::from_millis(300);

fn count(server: &Consensus<Toy>, text: &str) -> usize {
    texts(server).iter().filter(|found| *found == text).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_server_takes_commands_and_then_reads_what_it_wrote() {
    let mut group = Group::of(&[1, 2, 3], MANY).await;
    group.start(4).await;
    group.server(1).add_learner(4, peer(4)).await.unwrap();
    for round in 0..10_u64 {
        for id in 1..=4 {
            let text = format!("{round} by {id}");
            let nth = write(&group.server(id), &text).await.unwrap();
            assert_eq!(nth, round * 4 + id, "its own reply");
            assert_eq!(count(&group.server(id), &text), 1, "it is there");
        }
    }
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_commands_on_all_servers_share_entries() {
    let group = Group::of(&[1, 2, 3], MANY).await;
    let before = group.server(1).status().last_log_index.unwrap();
    let tasks: Vec<_> = (0..900)
        .map(|number| {
            let server = group.server(number % 3 + 1);
            tokio::spawn(async move { write(&server, &number.to_string()).await.unwrap() })
        })
        .collect();
    let mut replies = Vec::new();
    for task in tasks {
        replies.push(task.await.unwrap());
    }
    replies.sort_unstable();
    assert_eq!(replies, (1..=900).collect::<Vec<u64>>());
    let entries = group.server(1).status().last_log_index.unwrap() - before;
    assert!(entries < 300, "{entries} entries for 900 commands");
    group.agree(&[1, 2, 3]).await;
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_answer_was_lost_is_sent_again_and_carried_out_once() {
    let group = Group::of(&[1, 2, 3], MANY).await;
    group.mesh.lose_answers_to(2);
    let sent = tokio::spawn({
        let server = group.server(2);
        async move { write(&server, "once").await }
    });
    assert_eq!(sent.await.unwrap(), Ok(1), "the reply comes with the log");
    group.mesh.mend();
    for number in 0..20 {
        write(&group.server(2), &number.to_string()).await.unwrap();
    }
    group.agree(&[1, 2, 3]).await;
    assert_eq!(count(&group.server(1), "once"), 1);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_answered_from_a_snapshot_that_came_instead_of_its_entry() {
    let group = Group::of(&[1, 2, 3], 10).await;
    group.mesh.lose_answers_to(3);
    // The door of the leader is open, its own messages do not arrive: what is forwarded does, what is appended does not.
    group.mesh.cut(1, 3);
    let sent = tokio::spawn({
        let server = group.server(3);
        async move { write(&server, "once").await }
    });
    until(|| (count(&group.server(1), "once") == 1).then_some(())).await;
    group.mesh.isolate(3);
    for number in 0..60 {
        write(&group.server(1), &number.to_string()).await.unwrap();
    }
    until(|| group.server(1).status().purged_index).await;
    group.mesh.mend();
    assert_eq!(sent.await.unwrap(), Ok(1));
    group.agree(&[1, 2, 3]).await;
    assert_eq!(count(&group.server(3), "once"), 1);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_proposed_while_leaders_are_killed_is_carried_out_once_and_answered_truly() {
    let mut group = Group::of(&[1, 2, 3], 50).await;
    let done = Arc::new(AtomicBool::new(false));
    let mut outcomes = BTreeMap::new();
    for round in 0..3 {
        let killed = group.leader().await.status().id;
        let survivors: Vec<_> = (1..=3).filter(|id| *id != killed).collect();
        let writers: Vec<_> = survivors
            .iter()
            .map(|id| {
                let (server, done, id) = (group.server(*id), done.clone(), *id);
                tokio::spawn(async move {
                    let mut outcomes = Vec::new();
                    while !done.load(Ordering::Relaxed) {
                        let text = format!("{round} {id} {}", outcomes.len());
                        let outcome = write(&server, &text).await;
                        outcomes.push((text, outcome));
                    }
                    outcomes
                })
            })
            .collect();
        until(|| (texts(&group.server(survivors[0])).len() > outcomes.len() + 50).then_some(())).await;
        group.kill(killed);
        let next = group.leader().await;
        let there = texts(&next).len();
        until(|| (texts(&next).len() > there + 50).then_some(())).await;
        done.store(true, Ordering::Relaxed);
        for writer in writers {
            outcomes.extend(writer.await.unwrap());
        }
        done.store(false, Ordering::Relaxed);
        drop(next);
        group.start(killed).await;
        group.agree(&[1, 2, 3]).await;
    }
    let state = texts(&group.server(1));
    for (text, outcome) in &outcomes {
        let place = outcome.as_ref().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(state.get(*place as usize - 1), Some(text), "the reply is that of the command");
    }
    assert_eq!(state.len(), outcomes.len(), "nothing twice");
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_leader_a_command_that_never_left_is_known_not_to_be_carried_out() {
    let group = Group::of(&[1, 2, 3], MANY).await;
    group.mesh.isolate(3);
    let alone = group.server(3);
    until(|| alone.status().leader.is_none().then_some(())).await;
    assert_eq!(alone.propose(Write::new("never"), SOON).await, Err(ProposeError::NoLeader));
    group.mesh.mend();
    write(&alone, "later").await.unwrap();
    group.agree(&[1, 2, 3]).await;
    assert_eq!(texts(&group.server(1)), ["later"]);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_in_a_minority_may_not_act_and_what_it_did_late_is_refused_by_the_log() {
    let group = Group::of(&[1, 2, 3], MANY).await;
    let old = group.server(1);
    let mut leadership = old.leadership();
    let term = leadership.wait_for(Option::is_some).await.unwrap().unwrap();
    group.mesh.isolate(1);
    let late = tokio::spawn({
        let old = old.clone();
        async move { old.propose_as_leader(term, Write::new("late"), LONG).await }
    });
    leadership.wait_for(Option::is_none).await.unwrap();
    assert_eq!(old.status().role, Standing::Leader, "as far as it knows");
    let waits = tokio::spawn({
        let old = old.clone();
        async move { write(&old, "waits").await }
    });
    until(|| (group.server(2).status().term > term && group.server(2).status().leader != Some(1)).then_some(())).await;
    write(&group.server(2), "by the others").await.unwrap();
    group.mesh.mend();
    waits.await.unwrap().unwrap();
    let late = late.await.unwrap();
    assert!(matches!(late, Err(ProposeError::Fenced | ProposeError::TimedOut)), "{late:?}");
    group.agree(&[1, 2, 3]).await;
    assert_eq!(texts(&old), ["by the others", "waits"]);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parcel_of_somebody_else_or_beyond_the_bounds_is_refused() {
    let group = Group::of(&[1, 2, 3], MANY).await;
    let door = group.server(1).peer();
    let mk = |server, texts: &[&str]| {
        let origin = super::super::parcel::Origin { server, generation: 99, sequence: 1, floor: 1 };
        crate::consensus::machine::toy::mk_parcel(origin, texts)
    };
    assert_eq!(door.forward(2, mk(3, &["forged"])).await, Ok(Err(ForwardError::Malformed)));
    let many = vec!["x"; crate::consensus::batcher::ENTRY_COMMANDS_MAX + 1];
    assert_eq!(door.forward(2, mk(2, &many)).await, Ok(Err(ForwardError::Malformed)));
    let follower = group.server(2).peer();
    let refused = follower.forward(3, mk(3, &["astray"])).await;
    assert_eq!(refused, Ok(Err(ForwardError::NotLeader { leader: Some(1) })));
    assert!(door.forward(7, mk(7, &["stranger"])).await.is_err());
    assert!(texts(&group.server(1)).is_empty());
    group.stop().await;
}
