//! What every certificate of ours has in common: dates, serial numbers, names.

use muster_trust::NotACertificate;
use rcgen::{CertificateParams, DistinguishedName, DnType, SerialNumber};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::error::PkiError;

/// Certificates begin this much in the past, as kubeadm's do, for machines whose clocks are slow.
pub(super) const BACKDATE_MS: u64 = 5 * 60 * 1000;
/// Ten years of 365 days, as kubeadm's authorities live.
pub(super) const AUTHORITY_LIFETIME_MS: u64 = 10 * 365 * 24 * 3600 * 1000;

/// Parameters with a subject of `common_name` alone (empty: no subject), the dates, and a random serial number.
pub(super) fn params(common_name: &str, not_before_ms: u64, not_after_ms: u64) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if !common_name.is_empty() {
        params.distinguished_name.push(DnType::CommonName, common_name);
    }
    params.not_before = moment(not_before_ms)?;
    params.not_after = moment(not_after_ms)?;
    params.serial_number = Some(serial()?);
    Ok(params)
}

/// The second that `ms` lies in; certificates know no fractions.
fn moment(ms: u64) -> Result<OffsetDateTime, PkiError> {
    let seconds = i64::try_from(ms / 1000).map_err(|_| PkiError::Time { ms })?;
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| PkiError::Time { ms })
}

/// 126 random bits, positive and never short, whatever is drawn.
fn serial() -> Result<SerialNumber, PkiError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| PkiError::Randomness)?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// Last moment of a certificate, milliseconds since 1970.
///
/// # Errors
/// If it can't be read.
pub fn not_after_ms(der: &CertificateDer<'_>) -> Result<u64, NotACertificate> {
    Ok(dates_ms(&parse(der)?).1)
}

/// A PKCS#8 key as PEM.
pub fn key_to_pem(key: &crate::seal::SecretBytes) -> zeroize::Zeroizing<String> {
    super::pem::encode("PRIVATE KEY", key.expose())
}

/// Certificates as one PEM file, in their order.
pub fn certificates_to_pem(chain: &[CertificateDer<'_>]) -> String {
    chain.iter().map(|der| super::pem::encode("CERTIFICATE", der).to_string()).collect()
}

/// Reads one certificate with nothing after it.
pub(super) fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, NotACertificate> {
    match X509Certificate::from_der(der.as_ref()) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(NotACertificate),
    }
}

/// First and last moment of a certificate, in milliseconds since 1970.
pub(super) fn dates_ms(certificate: &X509Certificate<'_>) -> (u64, u64) {
    let ms = |seconds: i64| u64::try_from(seconds).unwrap_or(0).saturating_mul(1000);
    let validity = certificate.validity();
    (ms(validity.not_before.timestamp()), ms(validity.not_after.timestamp()))
}
