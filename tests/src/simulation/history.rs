//! What the clients of a run saw, operation by operation, and the judgement of it object by object.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::linearizability::{Span, Verdict, check};
use super::objects::{Answer, Ask, Object, SingleCopy};

/// One operation of one client. An attempt that is repeated under the same request is part of the same operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Which client.
    pub client: u32,
    /// On what.
    pub object: Object,
    /// What it asked.
    pub ask: Ask,
    /// When it first asked, in moments of the run: every moment is another number.
    pub called: u64,
    /// How it ended.
    pub ended: Ended,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// With an answer, at a moment.
    Answered(u64, Answer),
    /// Surely nothing was done.
    Nothing,
    /// Nobody knows: it may have been done, or may be yet.
    Unknown,
}

/// All operations of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// In the order in which they ended.
    pub operations: Vec<Operation>,
}

/// What is wrong with a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlawful {
    /// Of which object.
    pub object: Object,
    /// Whether an order was shown not to exist, or the search gave up.
    pub verdict: Verdict,
    /// The object's operations, by call.
    pub operations: Vec<Operation>,
}

impl History {
    /// Looks for an object that no single copy explains.
    ///
    /// # Errors
    /// [`Unlawful`] for the first such object.
    pub fn judge(&self) -> Result<(), Box<Unlawful>> {
        let mut objects: BTreeMap<Object, Vec<Operation>> = BTreeMap::new();
        for operation in self.operations.iter().filter(|operation| operation.ended != Ended::Nothing) {
            objects.entry(operation.object).or_default().push(operation.clone());
        }
        for (object, mut operations) in objects {
            operations.sort_by_key(|operation| operation.called);
            let spans: Vec<_> = operations.iter().filter_map(span).collect();
            let verdict = check(&SingleCopy, object.initial(), &spans);
            if verdict != Verdict::Legal {
                return Err(Box::new(Unlawful { object, verdict, operations }));
            }
        }
        Ok(())
    }

    /// How many operations have an unknown outcome.
    #[must_use]
    pub fn unknown(&self) -> usize {
        self.operations.iter().filter(|operation| operation.ended == Ended::Unknown).count()
    }

    /// Operations with an answer.
    pub fn answered(&self) -> impl Iterator<Item = (&Operation, Answer)> {
        self.operations.iter().filter_map(|operation| match operation.ended {
            Ended::Answered(_, answer) => Some((operation, answer)),
            Ended::Nothing | Ended::Unknown => None,
        })
    }
}

fn span(operation: &Operation) -> Option<Span<Ask, Answer>> {
    let returned = match operation.ended {
        Ended::Answered(at, answer) => Some((at, answer)),
        // A look that was not answered constrains nothing.
        Ended::Unknown if operation.ask == Ask::Look => return None,
        Ended::Unknown => None,
        Ended::Nothing => return None,
    };
    Some(Span { called: operation.called, returned, input: operation.ask })
}

impl std::fmt::Display for Unlawful {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let longest: &[usize] = match &self.verdict {
            Verdict::Illegal(longest) => longest,
            Verdict::Legal | Verdict::Undecided => &[],
        };
        writeln!(
            f,
            "{:?} is explained by no single copy ({} of {} operations can be put in order):",
            self.object,
            longest.len(),
            self.operations.len()
        )?;
        for (at, operation) in self.operations.iter().enumerate() {
            let place = longest
                .iter()
                .position(|index| *index == at)
                .map_or_else(|| "    ".into(), |place| format!("{place:>4}"));
            let Operation { client, ask, called, ended, .. } = operation;
            writeln!(f, "  {place}  client {client} {called:>6}  {ask:?} -> {ended:?}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
