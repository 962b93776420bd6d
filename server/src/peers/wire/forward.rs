//! Commands for the leader, and what it says of them.

use muster_proto::internal::raft::v1::{
    CampaignRequest, Envelope, Failure, ForwardRequest, ForwardResponse, NotLeader, ReadIndexRequest,
    ReadIndexResponse, forward_response, read_index_response,
};

use super::Malformed;
use crate::consensus::{ForwardError, Forwarded, Machine, Parcel, ReadError, codec};

/// Renders a parcel.
pub fn render<M: Machine>(envelope: Envelope, parcel: &Parcel<M>) -> ForwardRequest {
    ForwardRequest { envelope: Some(envelope), parcel: codec::render_parcel(parcel) }
}

/// Reads a parcel.
///
/// # Errors
/// If it is not one, or has a command that this program does not know.
pub fn parse<M: Machine>(request: ForwardRequest) -> Result<Parcel<M>, Malformed> {
    codec::parse_parcel(&request.parcel).map_err(|error| Malformed::wrong("the parcel", error))
}

/// Renders what became of a parcel.
pub fn render_forwarded(answer: Result<Forwarded, ForwardError>) -> ForwardResponse {
    use forward_response::Outcome;
    ForwardResponse {
        outcome: Some(match answer {
            Ok(Forwarded { index }) => Outcome::Index(index),
            Err(ForwardError::NotLeader { leader }) => Outcome::NotLeader(NotLeader { leader }),
            Err(ForwardError::Overloaded) => Outcome::Failure(Failure::Overloaded.into()),
            Err(ForwardError::Unavailable) => Outcome::Failure(Failure::Unavailable.into()),
            Err(ForwardError::Malformed) => Outcome::Failure(Failure::Malformed.into()),
            Err(ForwardError::Unknown) => Outcome::Failure(Failure::Unknown.into()),
        }),
    }
}

/// Reads what became of a parcel.
///
/// # Errors
/// If it says nothing, or what this program does not know.
pub fn parse_forwarded(response: ForwardResponse) -> Result<Result<Forwarded, ForwardError>, Malformed> {
    use forward_response::Outcome;
    match response.outcome.ok_or_else(|| Malformed::missing("the outcome"))? {
        Outcome::Index(index) => Ok(Ok(Forwarded { index })),
        Outcome::NotLeader(NotLeader { leader }) => Ok(Err(ForwardError::NotLeader { leader })),
        Outcome::Failure(failure) => match Failure::try_from(failure) {
            Ok(Failure::Overloaded) => Ok(Err(ForwardError::Overloaded)),
            Ok(Failure::Unavailable) => Ok(Err(ForwardError::Unavailable)),
            Ok(Failure::Malformed) => Ok(Err(ForwardError::Malformed)),
            Ok(Failure::Unknown | Failure::TimedOut) => Ok(Err(ForwardError::Unknown)),
            Ok(Failure::Unspecified) | Err(_) => Err(unknown()),
        },
    }
}

/// Renders the question how far a state must have got.
pub fn render_read_index(envelope: Envelope) -> ReadIndexRequest {
    ReadIndexRequest { envelope: Some(envelope) }
}

/// Renders how far a state must have got.
pub fn render_read(answer: Result<u64, ReadError>) -> ReadIndexResponse {
    use read_index_response::Outcome;
    ReadIndexResponse {
        outcome: Some(match answer {
            Ok(index) => Outcome::Index(index),
            Err(ReadError::NotLeader { leader }) => Outcome::NotLeader(NotLeader { leader }),
            Err(ReadError::Unavailable) => Outcome::Failure(Failure::Unavailable.into()),
            Err(ReadError::TimedOut) => Outcome::Failure(Failure::TimedOut.into()),
        }),
    }
}

/// Reads how far a state must have got.
///
/// # Errors
/// If it says nothing, or what this program does not know.
pub fn parse_read(response: ReadIndexResponse) -> Result<Result<u64, ReadError>, Malformed> {
    use read_index_response::Outcome;
    match response.outcome.ok_or_else(|| Malformed::missing("the outcome"))? {
        Outcome::Index(index) => Ok(Ok(index)),
        Outcome::NotLeader(NotLeader { leader }) => Ok(Err(ReadError::NotLeader { leader })),
        Outcome::Failure(failure) => match Failure::try_from(failure) {
            Ok(Failure::Unavailable) => Ok(Err(ReadError::Unavailable)),
            Ok(Failure::TimedOut | Failure::Unknown | Failure::Overloaded) => Ok(Err(ReadError::TimedOut)),
            Ok(Failure::Malformed | Failure::Unspecified) | Err(_) => Err(unknown()),
        },
    }
}

/// Renders the word to stand for election.
pub fn render_campaign(envelope: Envelope) -> CampaignRequest {
    CampaignRequest { envelope: Some(envelope) }
}

fn unknown() -> Malformed {
    Malformed::wrong("the failure", "is not one this program knows")
}
