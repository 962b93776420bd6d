//! One mapping from what went wrong to what a client is told.

use muster_state::Refusal;
use tonic::{Code, Status, metadata::MetadataValue};

use crate::{
    ledger::{MembershipError, ProposeError, ReadError},
    operations::OperationError,
};

/// Metadata key of the closed word that says why.
pub const REASON: &str = "muster-reason";

/// The status for an operation that was not done.
pub fn of_operation(error: OperationError) -> Status {
    match error {
        OperationError::Propose(error) => of_propose(error),
        OperationError::Invalid { field, problem } => {
            with_reason(Code::InvalidArgument, format!("{field}: {problem}"), "Invalid")
        }
        OperationError::NotFound(message) => with_reason(Code::NotFound, message, "NotFound"),
        OperationError::NotNow(message) => with_reason(Code::FailedPrecondition, message, "NotNow"),
        OperationError::NotAVoter(why) => with_reason(Code::Unavailable, why.to_string(), "NotAVoter"),
        OperationError::NotHere(why) => with_reason(Code::Unavailable, why.to_string(), "NotLeader"),
        OperationError::Group(error) => of_membership(&error),
        OperationError::Timeout(message) => with_reason(Code::DeadlineExceeded, message, "Timeout"),
        OperationError::Internal(error) => {
            // The chain may name paths and library details: for our log, not for the caller.
            tracing::error!(err = %format!("{error:#}"), "an operation failed");
            with_reason(Code::Internal, "the server could not do this; its log says why".into(), "Internal")
        }
    }
}

/// The status for a command that was not carried out.
pub fn of_propose(error: ProposeError) -> Status {
    match error {
        ProposeError::Refused(refusal) => of_refusal(&refusal),
        other => {
            let code = if other.outcome_is_unknown() { Code::DeadlineExceeded } else { Code::Unavailable };
            with_reason(code, other.to_string(), other.word())
        }
    }
}

/// The status for a group of servers that did not change.
fn of_membership(error: &MembershipError) -> Status {
    let (code, word) = match error {
        MembershipError::NotLeader { .. } => (Code::Unavailable, "NotLeader"),
        MembershipError::Busy => (Code::Unavailable, "Busy"),
        MembershipError::Unavailable => (Code::Unavailable, "Stopping"),
        MembershipError::NoVoter => (Code::FailedPrecondition, "NoVoter"),
        MembershipError::NotALearner(_) => (Code::FailedPrecondition, "NotALearner"),
        MembershipError::CannotLead(_) => (Code::FailedPrecondition, "CannotLead"),
        MembershipError::TimedOut => (Code::DeadlineExceeded, "OutcomeUnknown"),
    };
    with_reason(code, error.to_string(), word)
}

/// The status for a read that no majority confirmed. Another server may do better.
pub fn of_read(error: &ReadError) -> Status {
    let word = match error {
        ReadError::NotLeader { .. } => "NotLeader",
        ReadError::Unavailable => "Stopping",
        ReadError::TimedOut => "NoQuorum",
    };
    with_reason(Code::Unavailable, error.to_string(), word)
}

/// The status for any call before this server serves.
pub fn no_leader_yet() -> Status {
    let message = "this server has only started and hears no leader yet: a majority of the voters must be up";
    with_reason(Code::Unavailable, message.into(), "NoLeader")
}

/// The status for a refusal. Exhaustive, so that a new refusal must choose its code.
pub fn of_refusal(refusal: &Refusal) -> Status {
    let code = match refusal {
        Refusal::NotFound { .. } => Code::NotFound,
        Refusal::Exists { .. } | Refusal::NameTaken { .. } => Code::AlreadyExists,
        Refusal::Changed { .. }
        | Refusal::SeenDiffers { .. }
        | Refusal::FingerprintDiffers { .. }
        | Refusal::Epoch(_)
        | Refusal::RequestReused(_) => Code::Aborted,
        Refusal::Invalid { .. } => Code::InvalidArgument,
        Refusal::Full { .. } => Code::ResourceExhausted,
        Refusal::TokenUnknown
        | Refusal::TokenSpent(_)
        | Refusal::TokenExpired(_)
        | Refusal::TokenRevoked(_)
        | Refusal::TokenMismatch { .. }
        | Refusal::AlreadyEnrolled
        | Refusal::Denied(_)
        | Refusal::ServerTokenUnknown
        | Refusal::ServerTokenSpent(_)
        | Refusal::ServerTokenExpired(_)
        | Refusal::ServerRemoved(_)
        | Refusal::Locked(_) => Code::PermissionDenied,
        Refusal::DuplicateHardware { .. }
        | Refusal::WrongPhase { .. }
        | Refusal::PermitHeld { .. }
        | Refusal::NoEvidence { .. }
        | Refusal::Fleet(_)
        | Refusal::Etcd(_)
        | Refusal::ServerStanding { .. }
        | Refusal::ServerWentBack { .. }
        | Refusal::WrongGeneration { .. } => Code::FailedPrecondition,
        Refusal::ClockJumped => Code::Unavailable,
    };
    with_reason(code, refusal.to_string(), refusal.word())
}

fn with_reason(code: Code, message: String, reason: &'static str) -> Status {
    let mut status = Status::new(code, message);
    status.metadata_mut().insert(REASON, MetadataValue::from_static(reason));
    status
}
