//! Which check failed.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use rustls::{CertificateError, OtherError};

use crate::pin::Pin;
use crate::spiffe::{Role, SpiffeError};
use crate::x509::NotACertificate;

/// Why a peer was not believed. `Debug` equals `Display`, because rustls prints the cause of a failed handshake with `Debug`.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The peer showed nothing.
    #[error("the peer showed no certificate")]
    NoCertificate,
    /// A longer chain than any fleet has.
    #[error("the peer showed {count} certificates, more than the {max} that are allowed")]
    ChainTooLong {
        /// Certificates shown.
        count: usize,
        /// Most that are looked at.
        max: usize,
    },
    /// A certificate that cannot be read.
    #[error("a certificate in the chain cannot be read")]
    Unreadable(#[from] NotACertificate),
    /// No self-signed certificate of the chain has the pinned key.
    #[error(
        "the pin does not match: wanted {wanted}, the server showed {}; \
         either this is another fleet's server, or the pin is old: compare it with `muster pin` on a server",
        list(.seen)
    )]
    PinMismatch {
        /// The pin this machine was given.
        wanted: Pin,
        /// Pins of the self-signed certificates that the server showed.
        seen: Vec<Pin>,
    },
    /// The pinned key is that of a certificate which is not a root.
    #[error(
        "the pinned key {wanted} belongs to a certificate that is not self-signed; pin the fleet's root, as `muster pin` prints it"
    )]
    PinOfNonRoot {
        /// The pin this machine was given.
        wanted: Pin,
    },
    /// Two certificates with the pinned key: which one was meant cannot be known.
    #[error("{count} self-signed certificates with the pinned key were shown, exactly one is allowed")]
    PinAmbiguous {
        /// How many.
        count: usize,
    },
    /// The anchor is no certificate authority.
    #[error("the anchor is not a certificate authority")]
    AnchorNotCa,
    /// The leaf, an intermediate or the anchor has expired.
    #[error("the certificate expired {} s ago; renew it, or set this machine's clock", now_s.saturating_sub(*not_after_s))]
    Expired {
        /// Seconds since 1970 at the check.
        now_s: u64,
        /// Last second of the certificate.
        not_after_s: u64,
    },
    /// The leaf, an intermediate or the anchor is not valid yet.
    #[error("the certificate becomes valid in {} s; set this machine's clock", not_before_s.saturating_sub(*now_s))]
    NotYetValid {
        /// Seconds since 1970 at the check.
        now_s: u64,
        /// First second of the certificate.
        not_before_s: u64,
    },
    /// The extended key usage is missing or another.
    #[error("the certificate may not be used for {wanted}")]
    WrongUsage {
        /// The usage this end needs.
        wanted: &'static str,
    },
    /// The leaf does not lead up to the anchor.
    #[error("the certificate does not lead up to the {anchor}: {cause}")]
    Chain {
        /// What it should have led up to.
        anchor: &'static str,
        /// webpki's own word for the first failure.
        cause: String,
    },
    /// Not leaf, intermediate, root.
    #[error(
        "the certificate must be issued by one intermediate under the fleet root, here are {intermediates} between them"
    )]
    Depth {
        /// Certificates found between leaf and root.
        intermediates: usize,
    },
    /// No identity in the leaf.
    #[error("the certificate carries no identity: {0}")]
    Identity(#[from] SpiffeError),
    /// An identity of another role.
    #[error("the certificate is that of a {seen}, a {wanted} is needed here")]
    WrongRole {
        /// The role needed here.
        wanted: Role,
        /// The role in the certificate.
        seen: Role,
    },
    /// An identity of another fleet.
    #[error("the certificate belongs to fleet {seen}, this is {wanted}")]
    WrongFleet {
        /// The fleet needed here.
        wanted: String,
        /// The fleet in the certificate.
        seen: String,
    },
    /// Another server than the one addressed.
    #[error("server {wanted} was called, server {seen} answered")]
    WrongServer {
        /// The id that was called.
        wanted: String,
        /// The id that answered.
        seen: String,
    },
    /// The anchors of a listener cannot be used.
    #[error("a listener needs at least one intermediate to anchor on")]
    NoAnchor,
}

fn list(pins: &[Pin]) -> String {
    if pins.is_empty() {
        return "no self-signed certificate at all".to_owned();
    }
    pins.iter().map(Pin::to_string).collect::<Vec<_>>().join(", ")
}

impl fmt::Debug for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl VerifyError {
    /// Finds the reason in the error of a failed connection, however deep tonic, tokio or rustls wrapped it.
    ///
    /// Expired and not yet valid certificates are found too, although rustls keeps its own form of them so that the other
    /// end gets the alert "certificate expired".
    pub fn find(error: &(dyn StdError + 'static)) -> Option<VerifyError> {
        let mut next = Some(error);
        // A chain of causes is short; the bound is against one that refers to itself.
        for _ in 0..32 {
            let error = next?;
            if let Some(found) = Self::in_one(error) {
                return Some(found);
            }
            next = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        None
    }

    fn in_one(error: &(dyn StdError + 'static)) -> Option<VerifyError> {
        if let Some(found) = error.downcast_ref::<VerifyError>() {
            return Some(found.clone());
        }
        let rustls::Error::InvalidCertificate(cause) = error.downcast_ref::<rustls::Error>()? else {
            return None;
        };
        match cause {
            CertificateError::Other(OtherError(inner)) => inner.downcast_ref::<VerifyError>().cloned(),
            CertificateError::ExpiredContext { time, not_after } => {
                Some(VerifyError::Expired { now_s: time.as_secs(), not_after_s: not_after.as_secs() })
            }
            CertificateError::NotValidYetContext { time, not_before } => {
                Some(VerifyError::NotYetValid { now_s: time.as_secs(), not_before_s: not_before.as_secs() })
            }
            _ => None,
        }
    }
}

impl From<VerifyError> for rustls::Error {
    fn from(error: VerifyError) -> Self {
        let unix = |s| rustls_pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(s));
        rustls::Error::InvalidCertificate(match error {
            VerifyError::Expired { now_s, not_after_s } => {
                CertificateError::ExpiredContext { time: unix(now_s), not_after: unix(not_after_s) }
            }
            VerifyError::NotYetValid { now_s, not_before_s } => {
                CertificateError::NotValidYetContext { time: unix(now_s), not_before: unix(not_before_s) }
            }
            other => CertificateError::Other(OtherError(Arc::new(other))),
        })
    }
}
