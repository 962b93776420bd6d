//! A fault in a cluster file, shown with the line it is on.

use std::fmt::Write as _;

use serde_saphyr::{Error, Location};

use crate::cli::console::plain;
use crate::cli::exit::{Exit, Failure};
use crate::suggestion::suggestion;

/// Longest line that is shown, in characters; files of one long line exist.
const SHOWN_MAX: usize = 160;

/// What is wrong, and where.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) at: Option<Location>,
    pub(super) message: String,
}

/// The file that has the fault.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) text: &'a str,
    pub(super) file: &'a str,
}

impl Source<'_> {
    /// `file:line:column: message`, then the line with a mark below it.
    pub(super) fn failure(&self, fault: &Fault) -> Failure {
        let Some(at) = fault.at.filter(|at| at.line() > 0) else {
            return Failure::new(Exit::Invalid, format!("{}: {}", self.file, fault.message));
        };
        let mut message = format!("{}:{}:{}: {}", self.file, at.line(), at.column(), fault.message);
        let line = usize::try_from(at.line()).ok().and_then(|line| self.text.lines().nth(line - 1));
        let column = usize::try_from(at.column()).unwrap_or(1).max(1);
        if let Some(line) = line.filter(|line| line.chars().count() <= SHOWN_MAX) {
            let number = at.line().to_string();
            let before: String = line.chars().take(column - 1).collect();
            let blank = " ".repeat(plain(&before).chars().count());
            // Writing to a String cannot fail.
            let _ = write!(message, "\n  {number} | {}\n  {} | {blank}^", plain(line), " ".repeat(number.len()));
        }
        Failure::new(Exit::Invalid, message)
    }
}

/// What the YAML reader did not like, in our words where they can be better.
pub(super) fn of_yaml(error: &Error) -> Fault {
    let error = error.without_snippet();
    let message = match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            let known = expected.join(", ");
            match suggestion(field, expected.iter().copied()) {
                Some(meant) => format!("unknown key {field:?}; did you mean {meant:?}? (known here: {known})"),
                None => format!("unknown key {field:?} (known here: {known})"),
            }
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            format!("{variant:?} is not possible here; it is one of {}", expected.join(", "))
        }
        Error::SerdeMissingField { field, .. } => format!("{field:?} is missing"),
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("{key:?} is written twice"),
        Error::MultipleDocuments { .. } => "there is more than one document; a cluster file has one".to_owned(),
        Error::Eof { .. } => "the file is empty, or ends too early".to_owned(),
        other => without_position(&other.render_with_formatter(&serde_saphyr::UserMessageFormatter)),
    };
    Fault { at: error.location(), message: message.lines().map(plain).collect::<Vec<_>>().join(" ") }
}

/// The reader ends its messages with the place, which stands at the front here.
fn without_position(message: &str) -> String {
    match message.rsplit_once(" at line ") {
        Some((message, _)) => message.to_owned(),
        None => message.to_owned(),
    }
}
