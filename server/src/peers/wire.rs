//! Conversions between peers' messages and what consensus speaks.

pub mod forward;
pub mod greet;
pub mod leader;
pub mod logs;
pub mod raft;
pub mod relay;
pub mod snapshot;

/// A message of a peer that has no meaning. Never quotes it: what it holds may be secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} of a peer's message {problem}")]
pub struct Malformed {
    /// Which part.
    pub what: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl Malformed {
    fn missing(what: &'static str) -> Self {
        Self { what, problem: "is missing".to_owned() }
    }

    fn wrong(what: &'static str, problem: impl ToString) -> Self {
        Self { what, problem: problem.to_string() }
    }
}

#[cfg(test)]
mod tests;
