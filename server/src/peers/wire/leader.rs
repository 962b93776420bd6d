//! What is asked of a leader for an operator.

use muster_proto::internal::raft::v1::{
    Envelope, HandOverRequest, HandOverResponse, MemberProgress as WireMember, NotLeader, Progress as WireProgress,
    ProgressRequest, ProgressResponse, Unchanged, Unit, hand_over_response, progress_response,
};

use super::Malformed;
use crate::consensus::{MembershipError, ServerId};
use crate::peers::leader::{MemberProgress, Progress};

/// Renders the question how the group is doing.
pub fn render_ask(envelope: Envelope) -> ProgressRequest {
    ProgressRequest { envelope: Some(envelope) }
}

/// Renders how the group is doing, or who knows.
pub fn render_progress(answer: Result<Progress, Option<ServerId>>) -> ProgressResponse {
    use progress_response::Outcome;
    ProgressResponse {
        outcome: Some(match answer {
            Ok(progress) => Outcome::Progress(render(progress)),
            Err(leader) => Outcome::NotLeader(NotLeader { leader }),
        }),
    }
}

fn render(progress: Progress) -> WireProgress {
    let Progress { term, last_index, members } = progress;
    let member = |(server, member): (ServerId, MemberProgress)| {
        let MemberProgress { lag_entries, silence_ms } = member;
        WireMember { server, lag_entries, silence_ms }
    };
    WireProgress { term, last_index, members: members.into_iter().map(member).collect() }
}

/// Reads how the group is doing, or who knows.
///
/// # Errors
/// If it says nothing.
pub fn parse_progress(response: ProgressResponse) -> Result<Result<Progress, Option<ServerId>>, Malformed> {
    use progress_response::Outcome;
    match response.outcome.ok_or_else(|| Malformed::missing("the outcome"))? {
        Outcome::NotLeader(NotLeader { leader }) => Ok(Err(leader)),
        Outcome::Progress(WireProgress { term, last_index, members }) => {
            let member = |WireMember { server, lag_entries, silence_ms }: WireMember| {
                (server, MemberProgress { lag_entries, silence_ms })
            };
            Ok(Ok(Progress { term, last_index, members: members.into_iter().map(member).collect() }))
        }
    }
}

/// Renders the wish that another leads.
pub fn render_hand_over(envelope: Envelope, next: ServerId) -> HandOverRequest {
    HandOverRequest { envelope: Some(envelope), next }
}

/// Renders what became of that.
pub fn render_handed_over(answer: Result<(), MembershipError>) -> HandOverResponse {
    use hand_over_response::Outcome;
    HandOverResponse {
        outcome: Some(match answer {
            Ok(()) => Outcome::Done(Unit {}),
            Err(MembershipError::NotLeader { leader }) => Outcome::NotLeader(NotLeader { leader }),
            Err(MembershipError::CannotLead(server)) => Outcome::CannotLead(server),
            Err(MembershipError::Busy) => Outcome::Unchanged(Unchanged::Busy.into()),
            Err(MembershipError::TimedOut) => Outcome::Unchanged(Unchanged::Unknown.into()),
            // The other two are of changes of who belongs to the group; nothing else is left to say.
            Err(MembershipError::Unavailable | MembershipError::NoVoter | MembershipError::NotALearner(_)) => {
                Outcome::Unchanged(Unchanged::Unavailable.into())
            }
        }),
    }
}

/// Reads what became of it.
///
/// # Errors
/// If it says nothing, or what this program does not know.
pub fn parse_handed_over(response: HandOverResponse) -> Result<Result<(), MembershipError>, Malformed> {
    use hand_over_response::Outcome;
    Ok(match response.outcome.ok_or_else(|| Malformed::missing("the outcome"))? {
        Outcome::Done(Unit {}) => Ok(()),
        Outcome::NotLeader(NotLeader { leader }) => Err(MembershipError::NotLeader { leader }),
        Outcome::CannotLead(server) => Err(MembershipError::CannotLead(server)),
        Outcome::Unchanged(why) => match Unchanged::try_from(why) {
            Ok(Unchanged::Busy) => Err(MembershipError::Busy),
            Ok(Unchanged::Unknown) => Err(MembershipError::TimedOut),
            Ok(Unchanged::Unavailable) => Err(MembershipError::Unavailable),
            Ok(Unchanged::Unspecified) | Err(_) => {
                return Err(Malformed::wrong("the reason", "is not known to this program"));
            }
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::testing::{mk_member, mk_status};

    #[test]
    fn answers_survive_the_wire() {
        let members = [mk_member(1, true, None, Some(0)), mk_member(2, false, Some(7), None)];
        let progress = Progress::of(&mk_status(1, members)).unwrap();
        for answer in [Ok(progress), Err(None), Err(Some(3))] {
            assert_eq!(parse_progress(render_progress(answer.clone())), Ok(answer));
        }
        for answer in [
            Ok(()),
            Err(MembershipError::NotLeader { leader: Some(2) }),
            Err(MembershipError::CannotLead(4)),
            Err(MembershipError::Busy),
            Err(MembershipError::TimedOut),
            Err(MembershipError::Unavailable),
        ] {
            assert_eq!(parse_handed_over(render_handed_over(answer.clone())), Ok(answer));
        }
    }

    #[test]
    fn an_answer_that_says_nothing_is_none() {
        assert!(parse_progress(ProgressResponse::default()).is_err());
        assert!(parse_handed_over(HandOverResponse::default()).is_err());
        let unknown = HandOverResponse { outcome: Some(hand_over_response::Outcome::Unchanged(99)) };
        assert!(parse_handed_over(unknown).is_err());
    }
}
