//! What a server says when it starts, and what its peers remember of it.
//!
//! A disk that was restored from a copy, or lost its end, comes back with a vote or entries missing that others have counted.
//! Raft can't see that; its peers can, as long as they run: each remembers what it saw every other acknowledge. The memory is
//! not on disk. What outlives it is the count of starts, which is part of the state.

mod greeter;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use greeter::{Greeter, NotWelcome};

use super::roster::Standing;
use crate::consensus::types::{ServerId, Vote};

/// What a server says of itself when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Counts the starts of its data directory.
    pub generation: u64,
    /// Random, of this start.
    pub start: [u8; 16],
    /// Nothing was proposed by this start yet.
    pub fresh: bool,
    /// Index of the last entry of its log.
    pub last_index: Option<u64>,
    /// The vote on its disk.
    pub vote: Option<Vote>,
}

/// What a peer answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Greeted {
    /// It may take part.
    Welcome,
    /// The peer does not know of it, or not yet: ask again.
    Unknown,
    /// It must not take part.
    Refused(Refused),
}

/// Why a server must not take part any more. Its process should end and say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// An operator removed it.
    #[error("this server was removed from the fleet")]
    Removed,
    /// Entries are gone.
    #[error(
        "this server has lost what it acknowledged: its log ends at {ends_at}, but a peer saw it acknowledge {acknowledged}"
    )]
    LostLog {
        /// Index of the last entry it has; 0: none.
        ends_at: u64,
        /// Index of the last entry that a peer saw it acknowledge.
        acknowledged: u64,
    },
    /// A vote is gone.
    #[error(
        "this server has lost what it promised: its vote is of term {term}, but a peer saw it vote otherwise in term {given}"
    )]
    LostVote {
        /// Term of the vote it has; 0: none.
        term: u64,
        /// Term of the vote that a peer saw.
        given: u64,
    },
    /// The data directory is a copy, or was restored from one.
    #[error(
        "this server's data is a copy or was set back: it says that it starts for the {generation}. time, but a peer knows of its {known}. start"
    )]
    StaleGeneration {
        /// The start it says it is.
        generation: u64,
        /// The newest start a peer knows of; the same number, if another start has used it.
        known: u64,
    },
}

impl Refused {
    /// What an operator does about it, for server `id`.
    #[must_use]
    pub fn advice(self, id: ServerId) -> String {
        let again = "wipe its data directory and bring it in as a new one with `muster server join`";
        match self {
            Self::Removed => format!("an id is never used again: {again}"),
            Self::LostLog { .. } | Self::LostVote { .. } | Self::StaleGeneration { .. } => {
                format!("on another server run `muster server remove {id}`, then {again}")
            }
        }
    }
}

/// What this server saw its peers acknowledge since it started. Cheap to clone; all clones are one memory.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<BTreeMap<ServerId, Seen>>>);

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Index of the last entry it acknowledged, and the term of the leader it acknowledged it to.
    acknowledged: Option<(u64, u64)>,
    vote: Option<Vote>,
    start: Option<(u64, [u8; 16])>,
}

impl Memory {
    // Held for a map operation, never over an await.
    fn seen(&self) -> MutexGuard<'_, BTreeMap<ServerId, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server holds everything up to the entry at `last` (nothing, if there is none) and has accepted `leader`'s vote.
    pub fn acknowledged(&self, server: ServerId, leader: Vote, last: Option<u64>) {
        let mut all = self.seen();
        let seen = all.entry(server).or_default();
        raise(&mut seen.vote, leader);
        let Some(last) = last else { return };
        let newer = match seen.acknowledged {
            // A later leader may have cut off what an earlier one had sent.
            Some((before, term)) => leader.leader_id.term > term || last > before,
            None => true,
        };
        if newer {
            seen.acknowledged = Some((last, leader.leader_id.term));
        }
    }

    /// The server has this vote on its disk.
    pub fn voted(&self, server: ServerId, vote: Vote) {
        raise(&mut self.seen().entry(server).or_default().vote, vote);
    }

    /// Judges a greeting by what was seen and what the state knows, and remembers who was welcomed.
    pub fn greeted(&self, server: ServerId, greeting: &Greeting, standing: Standing) -> Greeted {
        if standing.removed {
            return Greeted::Refused(Refused::Removed);
        }
        if !standing.member && !standing.approved {
            return Greeted::Unknown;
        }
        let mut all = self.seen();
        let seen = all.entry(server).or_default();
        let refused = stale(seen, greeting, standing.generation)
            .or_else(|| lost_vote(seen, greeting))
            .or_else(|| lost_log(seen, greeting));
        if let Some(refused) = refused {
            return Greeted::Refused(refused);
        }
        seen.start = Some((greeting.generation, greeting.start));
        Greeted::Welcome
    }
}

fn raise(seen: &mut Option<Vote>, vote: Vote) {
    if seen.is_none_or(|seen| vote > seen) {
        *seen = Some(vote);
    }
}

fn stale(seen: &Seen, greeting: &Greeting, in_state: u64) -> Option<Refused> {
    let generation = greeting.generation;
    // Whoever has proposed nothing can't be in the state with its own start.
    let state_is_newer = in_state > generation || (greeting.fresh && in_state == generation && in_state != 0);
    let known = match seen.start {
        _ if state_is_newer => in_state,
        Some((seen, _)) if seen > generation => seen,
        Some((seen, start)) if seen == generation && start != greeting.start => seen,
        _ => return None,
    };
    Some(Refused::StaleGeneration { generation, known })
}

fn lost_vote(seen: &Seen, greeting: &Greeting) -> Option<Refused> {
    let given = seen.vote?;
    // Votes of one term for two candidates compare as neither: that is a second vote in a term.
    let kept = greeting.vote.is_some_and(|vote| vote >= given);
    let lost = Refused::LostVote { term: term(greeting.vote), given: given.leader_id.term };
    if kept { None } else { Some(lost) }
}

fn lost_log(seen: &Seen, greeting: &Greeting) -> Option<Refused> {
    let (acknowledged, to_term) = seen.acknowledged?;
    // A leader of a later term may have cut entries off that no majority held.
    if greeting.last_index >= Some(acknowledged) || term(greeting.vote) > to_term {
        return None;
    }
    Some(Refused::LostLog { ends_at: greeting.last_index.unwrap_or(0), acknowledged })
}

fn term(vote: Option<Vote>) -> u64 {
    vote.map_or(0, |vote| vote.leader_id.term)
}

#[cfg(test)]
mod tests;
