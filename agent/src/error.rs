//! How an agent ends, and what its exit code says.

use std::time::Duration;

use crate::client::ConnectError;
use crate::identity::KeyError;
use crate::journal::JournalError;

/// A good end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The server has recorded that the node is Ready.
    Ready {
        /// Its name.
        node_name: String,
    },
    /// The agent was asked to stop.
    Stopped,
}

/// A bad end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Keys or certificate.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// TLS could not be set up from what is stored.
    #[error("the stored identity cannot be used: {0}; remove the state directory to enrol anew")]
    Identity(String),
    /// No server answered for so long.
    #[error("no server answered for {} s, the last said: {last}; check --server, the network and the fleet's state", after.as_secs())]
    Unreachable {
        /// For how long.
        after: Duration,
        /// The last error.
        last: String,
    },
    /// The fleet wants nothing of this machine.
    #[error("the fleet refused this machine ({reason}): {message}")]
    Refused {
        /// A closed word.
        reason: String,
        /// What to do.
        message: String,
    },
    /// The join failed and nothing more will be tried.
    #[error("the join failed: {message}")]
    Failed {
        /// Why, and what to do.
        message: String,
    },
}

impl Error {
    /// The process's exit code, of the list that all of Muster's programs share.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Error::Keys(_) | Error::Journal(_) | Error::Identity(_) | Error::Failed { .. } => 1,
            Error::Unreachable { .. } => 5,
            Error::Refused { .. } => 8,
        }
    }
}

/// Why an attempt to reach a server failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server answered with an error, or the connection broke.
    #[error("{}: {}", .0.code(), .0.message())]
    Status(#[from] tonic::Status),
    /// The server ended the conversation.
    #[error("the server closed the stream")]
    Closed,
    /// The server does not keep to the protocol.
    #[error("the server does not keep to the protocol: {0}")]
    Protocol(String),
}

impl LinkError {
    /// Whether somebody is there, and the certificates of the two ends do not fit any more.
    pub(crate) fn is_rejection(&self) -> bool {
        let said = |code| matches!(code, tonic::Code::Unauthenticated | tonic::Code::PermissionDenied);
        match self {
            LinkError::Status(status) => said(status.code()) || is_refused_tls(status),
            LinkError::Connect(error) => is_refused_tls(error),
            LinkError::Closed | LinkError::Protocol(_) => false,
        }
    }
}

/// Whether TLS failed by a certificate. In TLS 1.3 a client has finished its handshake before the server looks at its
/// certificate, so the refusal may come with any later read and lies somewhere down the chain of causes, of which HTTP/2
/// keeps only the text.
fn is_refused_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::InvalidData
        {
            let tls = io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            let refused = matches!(tls, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_)));
            return refused || io.to_string().starts_with("received fatal alert");
        }
        next = error.source();
    }
    false
}
