//! What a caller trusts: the fleet root, known whole or by the pin of its key.

use rustls_pki_types::{CertificateDer, UnixTime};

use crate::pin::Pin;
use crate::verify::chain::check_dates;
use crate::verify::error::VerifyError;
use crate::x509;

/// What a caller trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anchor {
    /// The SHA-256 of the fleet root's key; the root itself comes with the server's chain.
    Pin(Pin),
    /// The fleet root.
    Root(CertificateDer<'static>),
}

impl Anchor {
    /// The root that this anchor stands for. `shown` are the certificates that the server sent after its leaf.
    pub(super) fn root<'a>(
        &'a self,
        shown: &'a [CertificateDer<'a>],
        now: UnixTime,
    ) -> Result<&'a CertificateDer<'a>, VerifyError> {
        let root = match self {
            Anchor::Root(root) => root,
            Anchor::Pin(pin) => pinned(*pin, shown)?,
        };
        let parsed = x509::parse(root)?;
        if !parsed.is_ca() {
            return Err(VerifyError::AnchorNotCa);
        }
        // webpki takes an anchor as given; its dates are checked here.
        check_dates(&parsed, now)?;
        Ok(root)
    }
}

fn pinned<'a>(wanted: Pin, shown: &'a [CertificateDer<'a>]) -> Result<&'a CertificateDer<'a>, VerifyError> {
    let mut found = Vec::new();
    let mut seen = Vec::new();
    let mut non_root = false;
    for certificate in shown {
        let parsed = x509::parse(certificate)?;
        let pin = Pin::of_spki(parsed.public_key().raw);
        if !is_self_signed(&parsed) {
            non_root |= pin == wanted;
            continue;
        }
        seen.push(pin);
        if pin == wanted {
            found.push(certificate);
        }
    }
    match found.as_slice() {
        [one] => Ok(one),
        [] if non_root => Err(VerifyError::PinOfNonRoot { wanted }),
        [] => Err(VerifyError::PinMismatch { wanted, seen }),
        several => Err(VerifyError::PinAmbiguous { count: several.len() }),
    }
}

/// Whether the certificate names itself as issuer and bears its own key's signature, which makes its dates and
/// constraints the word of the pinned key's holder.
fn is_self_signed(certificate: &x509_parser::prelude::X509Certificate<'_>) -> bool {
    certificate.subject().as_raw() == certificate.issuer().as_raw() && certificate.verify_signature(None).is_ok()
}
