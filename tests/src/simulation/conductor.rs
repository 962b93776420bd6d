//! What only a leader does: a task in every server's process that proposes, while it leads, with its term as the fence. So one
//! sees that nothing of an older term is carried out after something of a newer one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use muster_server::consensus::{Consensus, ProposeError, ServerId};
use muster_state::State;
use serde::{Deserialize, Serialize};

use super::commands;

/// Between two proposals of a leader.
const PAUSE: Duration = Duration::from_millis(250);

/// How long one may take: longer than an election, so that it is still under way in the next term.
const WITHIN: Duration = Duration::from_secs(4);

/// Something that a leader proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fenced {
    /// By which it is found in the state.
    pub mark: String,
    /// The only term it may be carried out in.
    pub term: u64,
    /// How often it must be there, at least and at most. A proposer that died knows nothing.
    pub expected: (usize, usize),
}

/// What all leaders of a run proposed.
pub type Deeds = Arc<Mutex<Vec<Fenced>>>;

/// Proposes while this server leads, several at a time, until its process dies.
pub async fn conduct(consensus: Consensus<State>, id: ServerId, start: u64, deeds: Deeds) {
    let mut leadership = consensus.leadership();
    for number in 0_u32.. {
        let Ok(leading) = leadership.wait_for(Option::is_some).await.map(|term| *term) else { return };
        let Some(term) = leading else { continue };
        let mark = format!("fenced-{term}-{id}-{start}-{number}");
        let place = note(&deeds, Fenced { mark: mark.clone(), term, expected: (0, 1) });
        let (consensus, deeds) = (consensus.clone(), deeds.clone());
        muster_server::process::spawn(async move {
            // Some come late, when another leads or this one does again.
            tokio::time::sleep(PAUSE * (number % 8)).await;
            let done = consensus.propose_as_leader(term, commands::fenced(&mark), WITHIN).await;
            let expected = match done {
                Ok(Ok(_)) => (1, 1),
                // Refused for the clock, or it surely never was carried out.
                Ok(Err(_)) | Err(ProposeError::Fenced) => (0, 0),
                Err(error) if error.may_retry() => (0, 0),
                Err(_) => (0, 1),
            };
            deeds.lock().unwrap_or_else(PoisonError::into_inner)[place].expected = expected;
        });
        tokio::time::sleep(PAUSE).await;
    }
}

fn note(deeds: &Deeds, fenced: Fenced) -> usize {
    let mut deeds = deeds.lock().unwrap_or_else(PoisonError::into_inner);
    deeds.push(fenced);
    deeds.len() - 1
}

/// Holds what leaders proposed against a state: each was carried out as often as its proposer was told, and never after
/// something of a newer term.
#[must_use]
pub fn judge(state: &State, deeds: &[Fenced]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut newest = 0;
    let made = state.events.iter().filter(|event| event.reason == "TokenCreated");
    let marks: Vec<&str> = made.filter_map(|event| commands::fenced_mark(&event.message)).collect();
    for mark in &marks {
        let term = mark.split('-').nth(1).and_then(|term| term.parse().ok()).unwrap_or(0);
        if term < newest {
            wrong.push(format!("{mark} was carried out after something of term {newest}"));
        }
        newest = newest.max(term);
    }
    let uncounted = deeds.iter().filter_map(|fenced| {
        let found = marks.iter().filter(|mark| **mark == fenced.mark).count();
        let (least, most) = fenced.expected;
        (found < least || found > most).then(|| format!("{fenced:?} is there {found} times"))
    });
    wrong.extend(uncounted);
    wrong
}
