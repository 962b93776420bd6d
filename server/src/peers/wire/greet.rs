//! Greetings and the answers to them.

use muster_proto::internal::raft::v1::{
    Envelope, GreetRequest, GreetResponse, LostLog, LostVote, StaleGeneration, Unit, greet_response::Outcome,
};

use super::Malformed;
use super::raft::{parse_vote, render_vote};
use crate::peers::greet::{Greeted, Greeting, Refused};

/// Renders a greeting.
pub fn render(envelope: Envelope, greeting: &Greeting) -> GreetRequest {
    let Greeting { generation, start, fresh, last_index, vote } = greeting;
    GreetRequest {
        envelope: Some(envelope),
        generation: *generation,
        start: start.to_vec(),
        fresh: *fresh,
        last_index: *last_index,
        vote: vote.as_ref().map(render_vote),
    }
}

/// Reads a greeting.
///
/// # Errors
/// If the number of the start has not 16 bytes.
pub fn parse(request: GreetRequest) -> Result<Greeting, Malformed> {
    let GreetRequest { envelope: _, generation, start, fresh, last_index, vote } = request;
    let start = start.try_into().map_err(|_| Malformed::wrong("the start", "must have 16 bytes"))?;
    let vote = vote.map(|vote| parse_vote(Some(vote))).transpose()?;
    Ok(Greeting { generation, start, fresh, last_index, vote })
}

/// Renders the answer.
pub fn render_greeted(greeted: &Greeted) -> GreetResponse {
    let outcome = match *greeted {
        Greeted::Welcome => Outcome::Welcome(Unit {}),
        Greeted::Unknown => Outcome::Unknown(Unit {}),
        Greeted::Refused(Refused::Removed) => Outcome::Removed(Unit {}),
        Greeted::Refused(Refused::LostLog { ends_at, acknowledged }) => {
            Outcome::LostLog(LostLog { ends_at, acknowledged })
        }
        Greeted::Refused(Refused::LostVote { term, given }) => Outcome::LostVote(LostVote { term, given }),
        Greeted::Refused(Refused::StaleGeneration { generation, known }) => {
            Outcome::StaleGeneration(StaleGeneration { generation, known })
        }
    };
    GreetResponse { outcome: Some(outcome) }
}

/// Reads the answer.
///
/// # Errors
/// If it says nothing.
pub fn parse_greeted(response: GreetResponse) -> Result<Greeted, Malformed> {
    Ok(match response.outcome.ok_or_else(|| Malformed::missing("the outcome"))? {
        Outcome::Welcome(Unit {}) => Greeted::Welcome,
        Outcome::Unknown(Unit {}) => Greeted::Unknown,
        Outcome::Removed(Unit {}) => Greeted::Refused(Refused::Removed),
        Outcome::LostLog(LostLog { ends_at, acknowledged }) => {
            Greeted::Refused(Refused::LostLog { ends_at, acknowledged })
        }
        Outcome::LostVote(LostVote { term, given }) => Greeted::Refused(Refused::LostVote { term, given }),
        Outcome::StaleGeneration(StaleGeneration { generation, known }) => {
            Greeted::Refused(Refused::StaleGeneration { generation, known })
        }
    })
}
