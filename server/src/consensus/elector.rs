//! When this voter stands for election.
//!
//! openraft can decide that itself, but does so at ticks of one and a half heartbeats and with a time-out that is drawn once for the
//! life of the process: two voters that drew alike stand at the same tick, term after term, and one whose log is too short to win
//! stands as often as the one that could. Here each wait is drawn anew, and what others answered counts:
//!
//! - who was refused because another has more of the log leaves it to that one for a while;
//! - who could win, and was refused because the other voted in that term already, tries the next term at once; of two equals that
//!   stood at the same time, the one with the higher number does;
//! - who refuses a candidate because of its shorter log, and hears no leader either, stands at once.

use std::time::Duration;

use openraft::ServerState;
use rand_core::RngCore as _;
use tokio::time::{Instant, sleep_until};

use super::machine::Machine;
use super::options::Timings;
use super::runtime::Chance;
use super::signs::{Sign, Signs};
use super::types::{Raft, ServerMetrics, Vote};

/// How often the range of waits after a lost election doubles at most.
const DOUBLINGS_MAX: u32 = 3;

/// The task that stands.
pub(super) struct Elector<M: Machine> {
    pub(super) raft: Raft<M>,
    pub(super) signs: Signs,
    pub(super) timings: Timings,
}

/// What a voter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wait {
    /// The vote it gave.
    vote: Vote,
    /// Since when; a leader that speaks later begins it anew.
    since: Instant,
    /// How long without a leader.
    patience: Duration,
    /// Elections in a row that were lost by coming too late.
    lost: u32,
    /// It was prolonged because this process had stood still.
    prolonged: bool,
}

/// Gives something from nothing up to the duration.
type Draw = fn(Duration) -> Duration;

impl Wait {
    /// With this vote, from `now` on.
    fn begin(vote: Vote, now: Instant, lost: u32, timings: Timings, draw: Draw) -> Self {
        let drawn = timings.election_min + draw(timings.election_max.saturating_sub(timings.election_min));
        // Those who have heard of a leader vote for nobody else for so long.
        let lease = if vote.committed { timings.election_max } else { Duration::ZERO };
        Self { vote, since: now, patience: lease + drawn, lost, prolonged: false }
    }

    fn until(&self, heard: Instant) -> Instant {
        self.since.max(heard) + self.patience
    }

    /// Takes a sign in. `silence` is how long no leader was heard.
    fn heed(&mut self, sign: Sign, now: Instant, silence: Duration, timings: Timings, draw: Draw) {
        match sign {
            Sign::Outdone(vote) if vote == self.vote => self.patience += 2 * timings.election_max,
            Sign::Late(vote) if vote == self.vote => {
                let range = timings.heartbeat / 2 * 2_u32.pow(self.lost.min(DOUBLINGS_MAX));
                // Not at once: others may still vote for it.
                (self.since, self.patience) = (now, timings.heartbeat / 4 + draw(range));
                self.lost += 1;
            }
            Sign::Tied(vote) if vote == self.vote => {
                (self.since, self.patience) = (now, timings.election_min + draw(timings.heartbeat));
                self.lost += 1;
            }
            Sign::Challenged if self.vote.committed && silence > timings.election_max => {
                (self.since, self.patience) = (now, draw(timings.heartbeat / 2));
            }
            Sign::Outdone(_) | Sign::Late(_) | Sign::Tied(_) | Sign::Challenged => {}
        }
    }

    /// Whether it is time to stand, after the wait was to end at `until`. If this process itself stood still, which says nothing of
    /// the leader, it listens for a little longer, once.
    fn is_over(&mut self, until: Instant, heard: Instant, now: Instant, timings: Timings) -> bool {
        if self.until(heard) > now {
            return false;
        }
        let stood_still = now > until + timings.heartbeat && !self.prolonged;
        if stood_still {
            (self.since, self.patience, self.prolonged) = (now, 2 * timings.heartbeat, true);
        }
        !stood_still
    }
}

impl<M: Machine> Elector<M> {
    /// Runs until openraft stops.
    pub(super) async fn run(self) {
        let (mut group, mut signs) = (self.raft.server_metrics(), self.signs.watch());
        let mut wait: Option<Wait> = None;
        loop {
            let Some(vote) = vote_of_waiting(&group.borrow_and_update()) else {
                wait = None;
                if group.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let lost = wait.filter(|_| !vote.committed).map_or(0, |wait| wait.lost);
            let kept = wait.filter(|wait| wait.vote == vote);
            let waiting = wait.insert(kept.unwrap_or_else(|| self.wait(vote, lost)));
            let until = waiting.until(self.signs.leader_heard_at());
            let goes_on = tokio::select! {
                biased;
                changed = group.changed() => changed.is_ok(),
                changed = signs.changed() => {
                    if let Some(sign) = *signs.borrow_and_update() {
                        waiting.heed(sign, Instant::now(), self.signs.silence(), self.timings, draw);
                    }
                    changed.is_ok()
                }
                () = sleep_until(until) => self.stand(waiting, until).await,
            };
            if !goes_on {
                return;
            }
        }
    }

    fn wait(&self, vote: Vote, lost: u32) -> Wait {
        Wait::begin(vote, Instant::now(), lost, self.timings, draw)
    }

    /// Stands, if it is time. False if openraft is gone.
    async fn stand(&self, waiting: &mut Wait, until: Instant) -> bool {
        if !waiting.is_over(until, self.signs.leader_heard_at(), Instant::now(), self.timings) {
            return true;
        }
        let silent_ms = self.signs.silence().as_millis();
        tracing::info!(
            after_term = waiting.vote.leader_id.term,
            silent_ms,
            "no leader is heard; standing for election"
        );
        *waiting = self.wait(waiting.vote, waiting.lost);
        self.raft.trigger().elect().await.is_ok()
    }
}

/// The vote of a server that may have to stand; none of one that leads or does not vote.
fn vote_of_waiting(group: &ServerMetrics) -> Option<Vote> {
    let votes = group.membership_config.membership().voter_ids().any(|id| id == group.id);
    let waits = votes && matches!(group.state, ServerState::Follower | ServerState::Candidate);
    waits.then_some(group.vote)
}

fn draw(below: Duration) -> Duration {
    let micros = u64::try_from(below.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(Chance.next_u64() % micros.max(1))
}

#[cfg(test)]
mod tests;
