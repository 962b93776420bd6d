use super::*;
use crate::consensus::mesh::{Group, LONG, until, write};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn nothing(_: Duration) -> Duration {
    Duration::ZERO
}

fn all(below: Duration) -> Duration {
    below
}

fn begin(vote: Vote, draw: Draw) -> Wait {
    Wait::begin(vote, Instant::now(), 0, Timings::default(), draw)
}

#[tokio::test(start_paused = true)]
async fn a_voter_waits_for_the_lease_of_a_leader_and_a_time_of_its_own() {
    let (shortest, longest) = (begin(Vote::new_committed(3, 2), nothing), begin(Vote::new_committed(3, 2), all));
    assert_eq!((shortest.patience, longest.patience), (ms(750), ms(900)));
    assert_eq!(begin(Vote::new(3, 2), nothing).patience, ms(300), "without a leader there is no lease");
    let heard = Instant::now() + ms(400);
    assert_eq!(shortest.until(heard), heard + ms(750), "a leader that speaks begins the wait anew");
}

#[tokio::test(start_paused = true)]
async fn who_came_too_late_tries_again_soon_and_each_time_within_a_wider_range() {
    let own = Vote::new(4, 1);
    let mut wait = begin(own, nothing);
    let mut ranges = Vec::new();
    for _ in 0..5 {
        wait.heed(Sign::Late(own), Instant::now(), ms(900), Timings::default(), all);
        ranges.push(wait.patience);
    }
    assert_eq!(ranges, [75, 125, 225, 425, 425].map(ms));
    wait.heed(Sign::Late(Vote::new(3, 1)), Instant::now(), ms(900), Timings::default(), nothing);
    assert_eq!(wait.patience, ms(425), "what is said of an earlier candidacy counts no more");
}

#[tokio::test(start_paused = true)]
async fn of_two_equals_the_one_with_the_lower_number_gives_way() {
    let own = Vote::new(4, 1);
    let mut wait = begin(own, nothing);
    wait.heed(Sign::Tied(own), Instant::now(), ms(900), Timings::default(), nothing);
    assert_eq!(wait.patience, ms(300));
}

#[tokio::test(start_paused = true)]
async fn who_has_less_of_the_log_leaves_it_to_the_other() {
    let own = Vote::new(4, 1);
    let mut wait = begin(own, nothing);
    wait.heed(Sign::Outdone(own), Instant::now(), ms(900), Timings::default(), nothing);
    assert_eq!(wait.patience, ms(1200));
}

#[tokio::test(start_paused = true)]
async fn a_challenge_is_taken_up_by_who_hears_no_leader_either() {
    let mut wait = begin(Vote::new_committed(3, 2), nothing);
    wait.heed(Sign::Challenged, Instant::now(), ms(450), Timings::default(), all);
    assert_eq!(wait.patience, ms(750), "it hears one");
    wait.heed(Sign::Challenged, Instant::now(), ms(451), Timings::default(), all);
    assert_eq!(wait.patience, ms(50));
    let mut candidate = begin(Vote::new(4, 1), nothing);
    candidate.heed(Sign::Challenged, Instant::now(), ms(900), Timings::default(), all);
    assert_eq!(candidate.patience, ms(300), "it stands already");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_stood_still_listens_before_it_stands_and_only_once() {
    let timings = Timings::default();
    let mut wait = begin(Vote::new_committed(3, 2), nothing);
    let (heard, until) = (Instant::now(), Instant::now() + ms(750));
    assert!(!wait.is_over(until, heard + ms(1), until, timings), "a leader spoke");
    assert!(wait.is_over(until, heard, until + ms(100), timings));
    let woke = until + ms(2000);
    assert!(!wait.is_over(until, heard, woke, timings));
    let until = wait.until(heard);
    assert_eq!(until, woke + ms(200));
    assert!(wait.is_over(until, heard, until + ms(2000), timings));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_stand_at_once_and_one_with_less_of_the_log_do_not_hinder_each_other_for_long() {
    let mut group = Group::of(&[1, 2, 3], 1_000_000).await;
    for _ in 0..5 {
        let leader = group.leader().await;
        let killed = leader.status().id;
        let [behind, ahead]: [u64; 2] =
            (1..=3).filter(|id| *id != killed).collect::<Vec<_>>().try_into().expect("two are left");
        // One of them misses what the other has.
        group.mesh.cut(killed, behind);
        write(&leader, "not on all").await.unwrap();
        let term = leader.status().term;
        drop(leader);
        group.kill(killed);
        group.mesh.mend();
        for id in [behind, ahead] {
            group.server(id).raft().trigger().elect().await.unwrap();
        }
        let next = group.server(ahead);
        until(|| (next.status().leader == Some(ahead)).then_some(())).await;
        assert!(next.status().term <= term + 8, "from term {term} to {}", next.status().term);
        group.start(killed).await;
        group.agree(&[1, 2, 3]).await;
        group.server(killed).wait_ready(LONG).await.unwrap();
    }
    group.stop().await;
}
