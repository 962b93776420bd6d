//! The path from a leaf to one anchor, and what every verifier asks of it.

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, Error as WebPkiError, KeyUsage};
use x509_parser::prelude::X509Certificate;

use crate::verify::error::VerifyError;

/// Leaf, intermediate and root, with room for a root that is being rotated; more is somebody making us work.
const CHAIN_CERTIFICATES_MAX: usize = 8;

/// The extended key usage that this end needs. It must be present in the leaf and in its intermediate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usage {
    Server,
    Client,
}

impl Usage {
    const fn key_usage(self) -> KeyUsage {
        // webpki's own `server_auth()` accepts a certificate without the extension.
        match self {
            Usage::Server => KeyUsage::required(&[0x2b, 6, 1, 5, 5, 7, 3, 1]),
            Usage::Client => KeyUsage::required(&[0x2b, 6, 1, 5, 5, 7, 3, 2]),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Usage::Server => "server authentication",
            Usage::Client => "client authentication",
        }
    }
}

/// What a leaf must lead up to.
pub(super) struct Target<'a> {
    pub(super) anchors: &'a [TrustAnchor<'a>],
    pub(super) name: &'static str,
    pub(super) usage: Usage,
    /// Certificates between leaf and anchor.
    pub(super) intermediates: usize,
}

pub(super) fn check_length(shown: usize) -> Result<(), VerifyError> {
    if shown > CHAIN_CERTIFICATES_MAX {
        return Err(VerifyError::ChainTooLong { count: shown, max: CHAIN_CERTIFICATES_MAX });
    }
    Ok(())
}

/// Verifies that `leaf` leads up to one of the target's anchors.
pub(super) fn check_path(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    target: &Target<'_>,
    algorithms: &WebPkiSupportedAlgorithms,
    now: UnixTime,
) -> Result<(), VerifyError> {
    let end_entity = EndEntityCert::try_from(leaf).map_err(|error| refusal(error, target))?;
    let path = end_entity
        .verify_for_usage(algorithms.all, target.anchors, intermediates, now, target.usage.key_usage(), None, None)
        .map_err(|error| refusal(error, target))?;
    let between = path.intermediate_certificates().count();
    if between != target.intermediates {
        return Err(VerifyError::Depth { intermediates: between });
    }
    Ok(())
}

pub(super) fn check_dates(certificate: &X509Certificate<'_>, now: UnixTime) -> Result<(), VerifyError> {
    let validity = certificate.validity();
    let seconds = |t: i64| u64::try_from(t).unwrap_or(0);
    let (not_before_s, not_after_s) =
        (seconds(validity.not_before.timestamp()), seconds(validity.not_after.timestamp()));
    let now_s = now.as_secs();
    if now_s < not_before_s {
        return Err(VerifyError::NotYetValid { now_s, not_before_s });
    }
    if now_s > not_after_s {
        return Err(VerifyError::Expired { now_s, not_after_s });
    }
    Ok(())
}

fn refusal(error: WebPkiError, target: &Target<'_>) -> VerifyError {
    match error {
        WebPkiError::CertExpired { time, not_after } => {
            VerifyError::Expired { now_s: time.as_secs(), not_after_s: not_after.as_secs() }
        }
        WebPkiError::CertNotValidYet { time, not_before } => {
            VerifyError::NotYetValid { now_s: time.as_secs(), not_before_s: not_before.as_secs() }
        }
        WebPkiError::RequiredEkuNotFoundContext(_) | WebPkiError::EmptyEkuExtension => {
            VerifyError::WrongUsage { wanted: target.usage.name() }
        }
        other => VerifyError::Chain { anchor: target.name, cause: other.to_string() },
    }
}
