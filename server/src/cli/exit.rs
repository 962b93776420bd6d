//! How a command ends: the closed list of exit codes, and the failure that carries one with its words.

use std::error::Error as StdError;
use std::process::ExitCode;

use muster_trust::VerifyError;
use tonic::{Code, Status};

use crate::cli::console::plain;

/// Metadata key of a status that carries a closed word for the cause, e.g. `sealed`.
pub const REASON_KEY: &str = "muster-reason";
/// The word for "the seal key is not there, so nothing secret can be read".
pub const REASON_SEALED: &str = "sealed";

/// The exit codes of `muster`; `muster help exit-codes` prints them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or healthy.
    Done,
    /// Failed, for none of the reasons below.
    Failed,
    /// Wrong usage; clap's own code.
    Usage,
    /// A check failed, or what was given is invalid.
    Invalid,
    /// Not found, or in conflict with what is there.
    Conflict,
    /// No leader, no quorum, or no server reached.
    Unreachable,
    /// The server is sealed.
    Sealed,
    /// Waiting took longer than allowed.
    TimedOut,
    /// Not allowed.
    NotAllowed,
}

impl Exit {
    /// All of them, in order of their code.
    pub const ALL: [Exit; 9] = [
        Exit::Done,
        Exit::Failed,
        Exit::Usage,
        Exit::Invalid,
        Exit::Conflict,
        Exit::Unreachable,
        Exit::Sealed,
        Exit::TimedOut,
        Exit::NotAllowed,
    ];

    /// The number that the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Invalid => 3,
            Exit::Conflict => 4,
            Exit::Unreachable => 5,
            Exit::Sealed => 6,
            Exit::TimedOut => 7,
            Exit::NotAllowed => 8,
        }
    }

    /// What it means, in a few words.
    pub const fn meaning(self) -> &'static str {
        match self {
            Exit::Done => "done, or healthy",
            Exit::Failed => "failed",
            Exit::Usage => "wrong usage",
            Exit::Invalid => "a check failed, or the input is invalid",
            Exit::Conflict => "not found, or in conflict with what is there",
            Exit::Unreachable => "no leader, no quorum, or no server reached",
            Exit::Sealed => "the server is sealed",
            Exit::TimedOut => "timed out waiting",
            Exit::NotAllowed => "not allowed",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// Why a command did not succeed: what happened, and what to do next if that is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// What happened, without a full stop. Empty: say nothing, as when the reader of a pipe has gone.
    pub message: String,
    /// What to do, as the rest of a line that starts with "Next: ".
    pub next: Option<String>,
}

impl Failure {
    /// A failure that says `message`.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), next: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn with_next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// What a refused call means to the one who typed the command. Text of the server is made safe for a terminal.
    pub fn of_status(status: &Status) -> Self {
        if let Some(failure) = Self::of_broken_connection(status) {
            return failure;
        }
        let failure = Self::new(exit_of(status), plain(status.message()));
        match failure.exit {
            Exit::Sealed => failure.with_next("give the server its seal key, then: muster status"),
            Exit::Unreachable => failure.with_next("muster status, or try again in a few seconds"),
            Exit::NotAllowed => failure.with_next("use a context whose certificate may do this (--context)"),
            _ => failure,
        }
    }

    /// A status that tonic made from a connection that broke or never stood. A TLS 1.3 server refuses a client's
    /// certificate only after the handshake, so that refusal surfaces here, too.
    fn of_broken_connection(status: &Status) -> Option<Self> {
        let source = status.source()?;
        if let Some(failure) = Self::of_tls(source) {
            return Some(failure);
        }
        let transport = source.is::<tonic::transport::Error>();
        transport.then(|| Self::new(Exit::Unreachable, format!("the connection broke: {}", chain(source))))
    }

    /// A handshake that one end refused, found however deep the error wraps it.
    pub(super) fn of_tls(error: &(dyn StdError + 'static)) -> Option<Self> {
        if let Some(cause) = VerifyError::find(error) {
            return Some(
                Self::new(Exit::Invalid, format!("the server is not trusted: {cause}")).with_next(
                    "compare ca_hash of the context with the pin that the server printed at its first start",
                ),
            );
        }
        let alert = alert_of(error)?;
        Some(
            Self::new(Exit::NotAllowed, format!("the server refused the operator certificate: {alert:?}")).with_next(
                "check certificate and key of the context; they may have expired or belong to another fleet",
            ),
        )
    }
}

fn exit_of(status: &Status) -> Exit {
    let reason = status.metadata().get(REASON_KEY).and_then(|value| value.to_str().ok());
    match status.code() {
        Code::Ok => Exit::Done,
        Code::FailedPrecondition if reason == Some(REASON_SEALED) => Exit::Sealed,
        Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => Exit::Conflict,
        Code::InvalidArgument | Code::OutOfRange => Exit::Invalid,
        Code::PermissionDenied | Code::Unauthenticated => Exit::NotAllowed,
        Code::Unavailable => Exit::Unreachable,
        // A wait has a clock of its own and ends with `Exit::TimedOut`; any other late answer is a plain failure.
        Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Unknown
        | Code::ResourceExhausted
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss => Exit::Failed,
    }
}

/// Most causes that are followed; the bound is against an error that refers to itself.
const CAUSES_MAX: usize = 32;

/// How rustls words an alert that the other end sent.
const ALERT: &str = "received fatal alert: ";

/// The TLS alert that ended a connection. Once a connection is up, h2 keeps only the text of what broke it, so the text is
/// what is looked for; a test with a real handshake fails when rustls words it otherwise.
fn alert_of(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut next = Some(error);
    for _ in 0..CAUSES_MAX {
        let error = next?;
        if let Some((_, alert)) = error.to_string().split_once(ALERT) {
            return Some(plain(alert));
        }
        next = error.source();
    }
    None
}

/// The messages of an error and its causes, each once, joined by colons.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = Some(error);
    for _ in 0..CAUSES_MAX {
        let Some(error) = next else { break };
        let text = plain(&error.to_string());
        if !said.iter().any(|earlier| earlier.contains(&text)) {
            said.push(text);
        }
        next = error.source();
    }
    said.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_documented_ones_and_in_order() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn every_status_code_has_the_documented_exit() {
        let cases = [
            (Code::NotFound, Exit::Conflict),
            (Code::AlreadyExists, Exit::Conflict),
            (Code::FailedPrecondition, Exit::Conflict),
            (Code::Aborted, Exit::Conflict),
            (Code::InvalidArgument, Exit::Invalid),
            (Code::OutOfRange, Exit::Invalid),
            (Code::PermissionDenied, Exit::NotAllowed),
            (Code::Unauthenticated, Exit::NotAllowed),
            (Code::Unavailable, Exit::Unreachable),
            (Code::DeadlineExceeded, Exit::Failed),
            (Code::Internal, Exit::Failed),
            (Code::Unimplemented, Exit::Failed),
            (Code::ResourceExhausted, Exit::Failed),
        ];
        for (code, exit) in cases {
            assert_eq!(Failure::of_status(&Status::new(code, "x")).exit, exit, "{code:?}");
        }
    }

    #[test]
    fn a_failed_precondition_is_sealed_only_if_its_reason_says_so() {
        let mut status = Status::failed_precondition("no seal key");
        status.metadata_mut().insert(REASON_KEY, "sealed".parse().unwrap());
        let failure = Failure::of_status(&status);
        assert_eq!(failure.exit, Exit::Sealed);
        assert!(failure.next.unwrap().contains("seal key"));

        status.metadata_mut().insert(REASON_KEY, "name-taken".parse().unwrap());
        assert_eq!(Failure::of_status(&status).exit, Exit::Conflict);
    }

    #[test]
    fn a_servers_words_cannot_steer_the_terminal() {
        let failure = Failure::of_status(&Status::not_found("no node \u{1b}[2J"));
        assert_eq!(failure.message, "no node \\u{1b}[2J");
    }

    #[test]
    fn a_refused_client_certificate_is_not_allowed() {
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateExpired);
        let error = std::io::Error::other(alert);
        let failure = Failure::of_tls(&error).unwrap();
        assert_eq!(failure.exit, Exit::NotAllowed);
        assert!(failure.message.contains("CertificateExpired"), "{failure}");
    }

    #[test]
    fn a_chain_says_each_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::io::Error);
        assert_eq!(chain(&Outer(std::io::Error::other("inner"))), "outer: inner");
        assert_eq!(chain(&Outer(std::io::Error::other("outer"))), "outer");
    }
}
