//! What tells a voter whether to stand for election: how long it has heard no leader, and how others took to it or to another
//! candidate. Messages leave their signs here on their way in and out; the [elector](super::elector) reads them.

use std::sync::{Arc, Mutex, PoisonError};

use openraft::raft::{VoteRequest, VoteResponse};
use tokio::sync::watch;
use tokio::time::{Duration, Instant};

use super::types::{ServerId, Vote};

/// Something that changes what a voter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// This candidacy was refused by a voter whose log goes further.
    Outdone(Vote),
    /// This candidacy was refused by a voter that had given its vote in that term or a later one, and whose log does not go further.
    Late(Vote),
    /// The same, but that voter is a candidate whose log is as long and whose number is higher: of two equals that one goes first.
    Tied(Vote),
    /// This voter refused a candidate whose log ends earlier than its own.
    Challenged,
}

/// The signs; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Signs {
    /// When a leader was heard last. Held for one look or one change.
    heard: Arc<Mutex<Instant>>,
    last: watch::Sender<Option<Sign>>,
}

impl Signs {
    /// Nothing yet: a server that has only started gives a leader time to speak.
    pub(super) fn new() -> Self {
        Self { heard: Arc::new(Mutex::new(Instant::now())), last: watch::Sender::new(None) }
    }

    /// A leader has just spoken.
    pub(super) fn heard_leader(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// When one spoke last; when this server started, if none did.
    pub(super) fn leader_heard_at(&self) -> Instant {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how long none has spoken.
    pub(super) fn silence(&self) -> Duration {
        self.leader_heard_at().elapsed()
    }

    /// Another voter answered this server's candidacy.
    pub(super) fn answered(&self, asked: &VoteRequest<ServerId>, answer: &VoteResponse<ServerId>) {
        if answer.vote_granted {
            return;
        }
        if answer.last_log_id > asked.last_log_id {
            self.last.send_replace(Some(Sign::Outdone(asked.vote)));
        } else if !answer.vote.committed && answer.vote.leader_id.term >= asked.vote.leader_id.term {
            let equal = answer.last_log_id == asked.last_log_id;
            let goes_first = answer.vote.leader_id.voted_for > asked.vote.leader_id.voted_for;
            let sign = if equal && goes_first { Sign::Tied(asked.vote) } else { Sign::Late(asked.vote) };
            self.last.send_replace(Some(sign));
        }
    }

    /// This voter answered another server's candidacy.
    pub(super) fn answers(&self, asked: &VoteRequest<ServerId>, answer: &VoteResponse<ServerId>) {
        if !answer.vote_granted && answer.last_log_id > asked.last_log_id {
            self.last.send_replace(Some(Sign::Challenged));
        }
    }

    /// Watches signs from now on.
    pub(super) fn watch(&self) -> watch::Receiver<Option<Sign>> {
        self.last.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use openraft::CommittedLeaderId;

    use super::*;
    use crate::consensus::types::LogId;

    fn log(index: u64) -> Option<LogId> {
        Some(LogId::new(CommittedLeaderId::new(3, 0), index))
    }

    fn after(answer: VoteResponse<ServerId>) -> Option<Sign> {
        let signs = Signs::new();
        signs.answered(&VoteRequest::new(Vote::new(4, 1), log(10)), &answer);
        *signs.watch().borrow()
    }

    #[tokio::test]
    async fn a_candidate_learns_why_it_was_refused() {
        let own = Vote::new(4, 1);
        let answer = |vote, index, granted| VoteResponse { vote, last_log_id: log(index), vote_granted: granted };
        assert_eq!(after(answer(own, 9, true)), None);
        assert_eq!(after(answer(Vote::new_committed(3, 2), 11, false)), Some(Sign::Outdone(own)));
        assert_eq!(after(answer(Vote::new(4, 2), 10, false)), Some(Sign::Tied(own)));
        assert_eq!(after(answer(Vote::new(4, 0), 10, false)), Some(Sign::Late(own)));
        assert_eq!(after(answer(Vote::new(5, 2), 9, false)), Some(Sign::Late(own)));
        assert_eq!(after(answer(Vote::new_committed(3, 2), 10, false)), None, "it still hears a leader");
    }

    #[tokio::test]
    async fn a_voter_with_more_of_the_log_is_challenged_by_a_candidate_with_less() {
        let answer =
            |index, granted| VoteResponse { vote: Vote::new(4, 1), last_log_id: log(index), vote_granted: granted };
        for (answer, sign) in
            [(answer(11, false), Some(Sign::Challenged)), (answer(10, false), None), (answer(9, true), None)]
        {
            let signs = Signs::new();
            signs.answers(&VoteRequest::new(Vote::new(4, 1), log(10)), &answer);
            assert_eq!(*signs.watch().borrow(), sign);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_when_a_leader_speaks() {
        let signs = Signs::new();
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(signs.silence(), Duration::from_secs(2));
        signs.heard_leader();
        assert_eq!(signs.silence(), Duration::ZERO);
    }
}
