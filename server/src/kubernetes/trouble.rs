//! What goes wrong with a link, in words of a closed list, and whether it may be tried again at once.

use std::{error::Error, time::Duration};

use muster_state::record::LinkCondition;

use crate::ledger::ProposeError;

/// Why a link has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    /// The cluster's record is to say so.
    #[error("{condition:?}: {message}")]
    Down {
        /// In a word.
        condition: LinkCondition,
        /// In a sentence.
        message: String,
        /// How long the API server asks to be left alone.
        wait: Option<Duration>,
    },
    /// What was listed is too old to go on from (410): list again.
    #[error("the API server has forgotten where the watch was")]
    Expired,
    /// Somebody else has changed the object meanwhile (409).
    #[error("the object has changed meanwhile")]
    Conflict,
    /// There is no such object (404).
    #[error("there is no such object")]
    Absent,
    /// The API server finds fault with what was sent (400, 422).
    #[error("the API server finds fault with what was sent: {0}")]
    Rejected(String),
    /// The certificate runs out soon: connect anew.
    #[error("the link is renewed")]
    Renewal,
    /// The log did not take what had to be decided: this server does not lead any more, or there is no majority.
    #[error("the log did not take a decision: {0}")]
    Undecided(String),
}

/// A connection that did not come about.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct ConnectError {
    /// What answered is not the cluster.
    pub(super) untrusted: bool,
    /// In a sentence.
    pub(super) message: String,
}

impl Trouble {
    /// Of that condition.
    pub(super) fn down(condition: LinkCondition, message: impl Into<String>) -> Self {
        Self::Down { condition, message: message.into(), wait: None }
    }

    /// The API server does not let the caller do this (403).
    pub(super) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Down { condition: LinkCondition::Forbidden, .. })
    }

    /// Nothing was heard in time.
    pub(super) fn silence(what: &str) -> Self {
        Self::down(LinkCondition::Unreachable, format!("no answer in time to: {what}"))
    }
}

impl From<ProposeError> for Trouble {
    fn from(err: ProposeError) -> Self {
        Self::Undecided(err.to_string())
    }
}

impl From<kube::Error> for Trouble {
    fn from(err: kube::Error) -> Self {
        match &err {
            kube::Error::Api(status) => of_status(status),
            kube::Error::Service(source) => of_connection(source.as_ref()),
            kube::Error::HyperError(source) => of_connection(source),
            kube::Error::ReadEvents(source) => of_connection(source),
            // Not the error itself: it may quote what could not be read.
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) | kube::Error::LinesCodecMaxLineLengthExceeded => {
                Self::down(LinkCondition::Failing, "an answer can't be read")
            }
            other => Self::down(LinkCondition::Failing, other.to_string()),
        }
    }
}

fn of_status(status: &kube::core::Status) -> Trouble {
    let condition = match status.code {
        404 => return Trouble::Absent,
        409 => return Trouble::Conflict,
        410 => return Trouble::Expired,
        400 | 422 => return Trouble::Rejected(format!("{} {}", status.code, status.reason)),
        401 => LinkCondition::Unauthorized,
        403 => LinkCondition::Forbidden,
        429 => LinkCondition::Throttled,
        _ => LinkCondition::Failing,
    };
    let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    let wait = (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)));
    Trouble::Down { condition, message: format!("{} {}", status.code, status.message), wait }
}

fn of_connection(err: &(dyn Error + 'static)) -> Trouble {
    let mut next = Some(err);
    while let Some(one) = next {
        if let Some(connect) = one.downcast_ref::<ConnectError>() {
            let condition = if connect.untrusted { LinkCondition::Untrusted } else { LinkCondition::Unreachable };
            return Trouble::down(condition, connect.message.clone());
        }
        next = one.source();
    }
    Trouble::down(LinkCondition::Unreachable, err.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_code(code: u16) -> Trouble {
        let status = kube::core::Status::failure("said so", "Reason").with_code(code);
        Trouble::from(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn every_answer_has_its_word() {
        use LinkCondition::{Failing, Forbidden, Throttled, Unauthorized};
        for (code, condition) in
            [(401, Unauthorized), (403, Forbidden), (429, Throttled), (500, Failing), (503, Failing)]
        {
            let Trouble::Down { condition: was, message, .. } = of_code(code) else { panic!("{code}") };
            assert!(was == condition && message.contains("said so"), "{code}: {message}");
        }
        assert_eq!([of_code(404), of_code(409), of_code(410)], [Trouble::Absent, Trouble::Conflict, Trouble::Expired]);
    }

    #[test]
    fn what_cannot_be_read_is_not_repeated() {
        let secret = "\"canary\"";
        let err = serde_json::from_str::<u8>(secret).unwrap_err();
        assert!(err.to_string().contains("canary"));
        assert!(!Trouble::from(kube::Error::SerdeError(err)).to_string().contains("canary"));
    }
}
