//! Entries, votes and the answers to them. Entries travel in the bytes in which they are stored.

use muster_proto::internal::raft::v1::{
    AppendRequest, AppendResponse, Ballot, Entry, Envelope, LogId as WireLogId, Partly, Unit, VoteRequest,
    VoteResponse, append_response::Outcome,
};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest as Asked, VoteResponse as Answered};
use openraft::{CommittedLeaderId, LeaderId};

use super::Malformed;
use crate::consensus::codec;
use crate::consensus::machine::Machine;
use crate::consensus::types::{LogId, ServerId, TypeConfig, Vote};

/// Renders a vote.
pub fn render_vote(vote: &Vote) -> Ballot {
    Ballot { term: vote.leader_id.term, server: vote.leader_id.voted_for, committed: vote.committed }
}

/// Reads a vote.
///
/// # Errors
/// If there is none.
pub fn parse_vote(ballot: Option<Ballot>) -> Result<Vote, Malformed> {
    let Ballot { term, server, committed } = ballot.ok_or_else(|| Malformed::missing("the vote"))?;
    Ok(Vote { leader_id: LeaderId { term, voted_for: server }, committed })
}

/// Renders a place in the log.
pub fn render_log_id(id: &LogId) -> WireLogId {
    WireLogId { term: id.leader_id.term, index: id.index }
}

/// Reads a place in the log.
pub fn parse_log_id(id: WireLogId) -> LogId {
    LogId::new(CommittedLeaderId::new(id.term, 0), id.index)
}

/// Renders entries, or a heartbeat.
pub fn render_append<M: Machine>(envelope: Envelope, rpc: &AppendEntriesRequest<TypeConfig<M>>) -> AppendRequest {
    let entry = |entry: &crate::consensus::types::Entry<M>| Entry {
        index: entry.log_id.index,
        stored: codec::render_entry(entry),
    };
    AppendRequest {
        envelope: Some(envelope),
        vote: Some(render_vote(&rpc.vote)),
        previous: rpc.prev_log_id.as_ref().map(render_log_id),
        entries: rpc.entries.iter().map(entry).collect(),
        committed: rpc.leader_commit.as_ref().map(render_log_id),
    }
}

/// Reads entries.
///
/// # Errors
/// If an entry is not one this program knows, or does not follow the one before it.
pub fn parse_append<M: Machine>(request: AppendRequest) -> Result<AppendEntriesRequest<TypeConfig<M>>, Malformed> {
    let AppendRequest { envelope: _, vote, previous, entries, committed } = request;
    let prev_log_id = previous.map(parse_log_id);
    let mut before = prev_log_id;
    let mut parsed = Vec::with_capacity(entries.len());
    for Entry { index, stored } in entries {
        let entry = codec::parse_entry::<M>(index, &stored).map_err(|error| Malformed::wrong("an entry", error))?;
        // openraft takes it on trust that there is no hole and that terms do not go back.
        let follows = index == before.map_or(0, |before| before.index.saturating_add(1));
        if !follows || before.is_some_and(|before| entry.log_id < before) {
            return Err(Malformed::wrong("an entry", "does not follow the one before it"));
        }
        before = Some(entry.log_id);
        parsed.push(entry);
    }
    let leader_commit = committed.map(parse_log_id);
    Ok(AppendEntriesRequest { vote: parse_vote(vote)?, prev_log_id, entries: parsed, leader_commit })
}

/// Renders the answer to entries.
pub fn render_appended(response: &AppendEntriesResponse<ServerId>) -> AppendResponse {
    let outcome = match response {
        AppendEntriesResponse::Success => Outcome::Success(Unit {}),
        AppendEntriesResponse::PartialSuccess(last) => {
            Outcome::Partly(Partly { last: last.as_ref().map(render_log_id) })
        }
        AppendEntriesResponse::Conflict => Outcome::Conflict(Unit {}),
        AppendEntriesResponse::HigherVote(vote) => Outcome::HigherVote(render_vote(vote)),
    };
    AppendResponse { outcome: Some(outcome) }
}

/// Reads the answer to entries.
///
/// # Errors
/// If it says nothing.
pub fn parse_appended(response: AppendResponse) -> Result<AppendEntriesResponse<ServerId>, Malformed> {
    Ok(match response.outcome.ok_or_else(|| Malformed::missing("the outcome"))? {
        Outcome::Success(Unit {}) => AppendEntriesResponse::Success,
        Outcome::Partly(Partly { last }) => AppendEntriesResponse::PartialSuccess(last.map(parse_log_id)),
        Outcome::Conflict(Unit {}) => AppendEntriesResponse::Conflict,
        Outcome::HigherVote(ballot) => AppendEntriesResponse::HigherVote(parse_vote(Some(ballot))?),
    })
}

/// Renders a candidate's question.
pub fn render_candidacy(envelope: Envelope, rpc: &Asked<ServerId>) -> VoteRequest {
    VoteRequest {
        envelope: Some(envelope),
        vote: Some(render_vote(&rpc.vote)),
        last: rpc.last_log_id.as_ref().map(render_log_id),
    }
}

/// Reads a candidate's question.
///
/// # Errors
/// If it names no vote.
pub fn parse_candidacy(request: VoteRequest) -> Result<Asked<ServerId>, Malformed> {
    Ok(Asked { vote: parse_vote(request.vote)?, last_log_id: request.last.map(parse_log_id) })
}

/// Renders a voter's answer.
pub fn render_voted(response: &Answered<ServerId>) -> VoteResponse {
    VoteResponse {
        vote: Some(render_vote(&response.vote)),
        granted: response.vote_granted,
        last: response.last_log_id.as_ref().map(render_log_id),
    }
}

/// Reads a voter's answer.
///
/// # Errors
/// If it names no vote.
pub fn parse_voted(response: VoteResponse) -> Result<Answered<ServerId>, Malformed> {
    let VoteResponse { vote, granted, last } = response;
    Ok(Answered { vote: parse_vote(vote)?, vote_granted: granted, last_log_id: last.map(parse_log_id) })
}
