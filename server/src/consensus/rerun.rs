//! Ends split votes: whoever sees that its election was one stands again after a time of its own.
//!
//! openraft draws its election time-out once for each start and looks at it with every tick, so two candidates that have met
//! once meet again each time, for as long as their ticks stay in step. Here each draws anew. Everything else about elections,
//! who stands when nobody leads and how long it waits, stays openraft's.

use std::time::Duration;

use openraft::ServerState;
use openraft::raft::VoteResponse;
use rand_core::RngCore as _;
use tokio::sync::watch;

use super::machine::Machine;
use super::runtime::Chance;
use super::transport::Ballot;
use super::types::{Raft, ServerId};

/// How this server's latest candidacy went, as far as voters said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Candidacy {
    term: u64,
    /// A voter had voted for another candidate of the term, or of a later one.
    is_split: bool,
    /// A voter had a longer log, so that this server can hardly win: let others.
    is_behind: bool,
}

impl Candidacy {
    /// Takes a voter's answer in. Gives whether the vote is now known to be split.
    fn hear(&mut self, ballot: &Ballot, answer: &VoteResponse<ServerId>) -> bool {
        let term = ballot.vote.leader_id.term;
        if term > self.term {
            *self = Self { term, ..Self::default() };
        }
        if term < self.term || answer.vote_granted {
            return false;
        }
        self.is_behind |= answer.last_log_id > ballot.last_log_id;
        // A voter that keeps to its leader answers with a vote of an earlier term.
        let is_news = !self.is_split && answer.vote.leader_id.term >= term;
        self.is_split |= is_news;
        is_news
    }
}

/// Where answers to this server's ballots are told.
#[derive(Clone, Debug)]
pub(super) struct Ballots(watch::Sender<Candidacy>);

impl Ballots {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(Candidacy::default()))
    }

    /// A voter has answered.
    pub(super) fn answered(&self, ballot: &Ballot, answer: &VoteResponse<ServerId>) {
        self.0.send_if_modified(|candidacy| candidacy.hear(ballot, answer));
    }
}

/// The task that stands again.
pub(super) struct Rerun<M: Machine> {
    raft: Raft<M>,
    candidacy: watch::Receiver<Candidacy>,
    within: Duration,
}

impl<M: Machine> Rerun<M> {
    /// A task that draws times up to `within`.
    pub(super) fn new(raft: Raft<M>, ballots: &Ballots, within: Duration) -> Self {
        Self { raft, candidacy: ballots.0.subscribe(), within }
    }

    /// Runs until openraft stops.
    pub(super) async fn run(mut self) {
        while self.candidacy.changed().await.is_ok() {
            let term = self.candidacy.borrow_and_update().term;
            tokio::time::sleep(pause(self.within)).await;
            // It may have heard of a longer log meanwhile.
            if !self.candidacy.borrow().is_behind
                && self.still_stands(term)
                && self.raft.trigger().elect().await.is_err()
            {
                return;
            }
        }
    }

    fn still_stands(&self, term: u64) -> bool {
        let group = self.raft.server_metrics();
        let group = group.borrow();
        group.state == ServerState::Candidate && group.vote.leader_id.term == term
    }
}

/// A time below `within`, of which each is as likely as any other.
fn pause(within: Duration) -> Duration {
    let micros = u64::try_from(within.as_micros()).unwrap_or(u64::MAX).max(1);
    Duration::from_micros(Chance.next_u64() % micros)
}

#[cfg(test)]
mod tests {
    use openraft::{CommittedLeaderId, Vote};

    use super::*;
    use crate::consensus::types::LogId;

    fn id(index: u64) -> LogId {
        LogId::new(CommittedLeaderId::new(1, 0), index)
    }

    fn ballot(term: u64) -> Ballot {
        Ballot::new(Vote::new(term, 1), Some(id(7)))
    }

    fn refusal(vote: Vote<u64>, last: u64) -> VoteResponse<u64> {
        VoteResponse::new(vote, Some(id(last)), false)
    }

    #[test]
    fn a_voter_that_voted_for_another_splits_the_vote_and_says_so_once() {
        let mut candidacy = Candidacy::default();
        assert!(candidacy.hear(&ballot(4), &refusal(Vote::new(4, 2), 7)));
        assert!(!candidacy.hear(&ballot(4), &refusal(Vote::new(4, 3), 7)));
        assert!(candidacy.hear(&ballot(5), &refusal(Vote::new(6, 2), 7)), "each term anew");
        assert!(!candidacy.hear(&ballot(4), &refusal(Vote::new(4, 2), 7)), "an answer that comes late");
    }

    #[test]
    fn a_granted_vote_a_lease_and_a_longer_log_are_no_reason_to_stand_again() {
        let mut candidacy = Candidacy::default();
        assert!(!candidacy.hear(&ballot(4), &VoteResponse::new(Vote::new(4, 1), Some(id(7)), true)));
        assert!(!candidacy.hear(&ballot(4), &refusal(Vote::new_committed(3, 2), 7)));
        assert_eq!(candidacy, Candidacy { term: 4, ..Candidacy::default() });
        candidacy.hear(&ballot(4), &refusal(Vote::new(4, 2), 8));
        assert!(candidacy.is_behind);
    }

    #[test]
    fn pauses_differ_and_stay_below_the_bound() {
        let within = Duration::from_millis(300);
        let drawn: std::collections::BTreeSet<_> = (0..100).map(|_| pause(within)).collect();
        assert!(drawn.len() > 50 && drawn.iter().all(|pause| *pause < within), "{drawn:?}");
        assert_eq!(pause(Duration::ZERO), Duration::ZERO);
    }
}
