//! What the clients of a simulation work on, cut into objects that can be judged one by one, and what a single copy of each
//! would answer.

use serde::{Deserialize, Serialize};

use super::linearizability::Model;

/// One object of the replicated state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Object {
    /// An enrolment token for one machine.
    Token(u32),
    /// A cluster's permit `init`, for which three machines compete.
    Permit(u32),
    /// A cluster's text: a register with compare-and-set by revision.
    Register(u32),
    /// How often a dead token was misused: a counter that nothing but exactly-once protects.
    Counter(u32),
}

/// What is asked of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Token: make it.
    Mint,
    /// Token: let a machine in with it.
    Redeem {
        /// Which of the machines that hold this token.
        machine: u32,
    },
    /// Permit: give it to a node.
    Grant {
        /// Which of the three.
        node: u32,
    },
    /// Permit: take it from a node.
    Free {
        /// Which of the three.
        node: u32,
    },
    /// Register: write, if it is still at the revision seen.
    Replace {
        /// The revision that the client saw last.
        seen: u64,
        /// A value that no other operation writes.
        value: u32,
    },
    /// Counter: one more.
    Add {
        /// A number that no other operation has.
        serial: u32,
    },
    /// Any: look, linearizably.
    Look,
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It was done.
    Done,
    /// There is such a token already.
    Exists,
    /// There is no such token.
    Missing,
    /// Another machine has used the token.
    Spent,
    /// A node holds the permit.
    Held(u32),
    /// That node does not hold the permit.
    NotHolder,
    /// Written; this is the revision now.
    Revision(u64),
    /// Not written, since it is at this revision now.
    Changed(u64),
    /// What was seen.
    Seen(Value),
}

/// An object, whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Value {
    /// Not made yet.
    NoToken,
    /// A token, and the machine that used it.
    Token(Option<u32>),
    /// The holder.
    Permit(Option<u32>),
    /// Revision, and what was written last (zero at first).
    Register(u64, u32),
    /// How many.
    Counter(u64),
}

impl Object {
    /// The object before any client has touched it.
    #[must_use]
    pub fn initial(self) -> Value {
        match self {
            Self::Token(_) => Value::NoToken,
            Self::Permit(_) => Value::Permit(None),
            Self::Register(_) => Value::Register(1, 0),
            Self::Counter(_) => Value::Counter(0),
        }
    }
}

/// A single copy of any object.
#[derive(Clone, Copy, Debug)]
pub struct SingleCopy;

impl Model for SingleCopy {
    type State = Value;
    type Input = Ask;
    type Output = Answer;

    /// What does not fit the object is answered as seen, which no server ever answers to it.
    fn step(&self, value: &Value, ask: &Ask) -> (Value, Answer) {
        match (*value, *ask) {
            (Value::NoToken, Ask::Mint) => (Value::Token(None), Answer::Done),
            (Value::NoToken, Ask::Redeem { .. }) => (*value, Answer::Missing),
            (Value::Token(_), Ask::Mint) => (*value, Answer::Exists),
            (Value::Token(None), Ask::Redeem { machine }) => (Value::Token(Some(machine)), Answer::Done),
            // The same machine once more is the same enrolment.
            (Value::Token(Some(user)), Ask::Redeem { machine }) if user == machine => (*value, Answer::Done),
            (Value::Token(Some(_)), Ask::Redeem { .. }) => (*value, Answer::Spent),
            (Value::Permit(None), Ask::Grant { node }) => (Value::Permit(Some(node)), Answer::Done),
            (Value::Permit(Some(holder)), Ask::Grant { .. }) => (*value, Answer::Held(holder)),
            (Value::Permit(holder), Ask::Free { node }) if holder == Some(node) => (Value::Permit(None), Answer::Done),
            (Value::Permit(_), Ask::Free { .. }) => (*value, Answer::NotHolder),
            (Value::Register(revision, _), Ask::Replace { seen, value }) if revision == seen => {
                (Value::Register(revision + 1, value), Answer::Revision(revision + 1))
            }
            (Value::Register(revision, _), Ask::Replace { .. }) => (*value, Answer::Changed(revision)),
            (Value::Counter(count), Ask::Add { .. }) => (Value::Counter(count + 1), Answer::Done),
            _ => (*value, Answer::Seen(*value)),
        }
    }
}
