//! Why a certificate was not made.

use muster_trust::{NotACertificate, Role, SpiffeError};

use super::request::RequestError;

/// Why a certificate was not made, or authorities were not accepted.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The fleet or the id cannot stand in an identity.
    #[error(transparent)]
    Identity(#[from] SpiffeError),
    /// The request asks for something that is not granted.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A name for a serving certificate is neither a DNS name nor an IP address.
    #[error("{name:?} is neither a DNS name nor an IP address")]
    Name {
        /// The name as given.
        name: String,
    },
    /// Only servers have names besides their identity.
    #[error("a certificate of a {role} carries no DNS name and no IP address")]
    NamesForRole {
        /// The role asked for.
        role: Role,
    },
    /// A lifetime of nothing.
    #[error("a certificate must live for at least one second")]
    Lifetime,
    /// A time that no certificate can state.
    #[error("the time {ms} ms since 1970 cannot stand in a certificate")]
    Time {
        /// Milliseconds since 1970.
        ms: u64,
    },
    /// The issuing authority cannot sign at this time.
    #[error("the {role} authority of the fleet has expired or is not valid yet; check this server's clock")]
    AuthorityDates {
        /// Whose authority.
        role: Role,
    },
    /// The fleet's root has run out: machines would not believe what is below it.
    #[error("the root of the fleet has expired; its pin is of no use any more, so found a new fleet")]
    RootDates,
    /// A certificate that was stored cannot be read.
    #[error(transparent)]
    Unreadable(#[from] NotACertificate),
    /// Authorities that do not belong together.
    #[error("the fleet's authorities do not fit together: {what}")]
    Mismatch {
        /// What does not fit.
        what: &'static str,
    },
    /// Key generation, signing or encoding failed.
    #[error("cryptography failed: {0}")]
    Crypto(#[from] rcgen::Error),
    /// The system has no randomness.
    #[error("the system has no randomness")]
    Randomness,
}
