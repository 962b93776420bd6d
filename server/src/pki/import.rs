//! Taking over the PKI of a cluster that exists already.
//!
//! Everything is checked before anything is kept, and what is wrong with any pair of files is told at once. What is kept is
//! what was checked: each file is written anew from the parsed blocks, so that no unread text rides along.

use std::collections::BTreeMap;
use std::fmt;

use muster_trust::Pin;
use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use x509_parser::prelude::X509Certificate;

use super::cluster::{Authority, ClusterPki, PkiFile, file};
use super::{certificate, pem};

mod directory;
mod report;

pub use directory::read_dir;
pub use report::{
    AuthorityReport, CertificateReport, EXPIRES_SOON_MS, FileProblem, ImportError, ImportReport, KeyReport, Problem,
};

/// No file of a kubeadm PKI is longer than a few kilobytes.
const FILE_BYTES_MAX: usize = 64 * 1024;
/// A rotation needs two certificates in a bundle, a chain of authorities a few.
const BUNDLE_CERTIFICATES_MAX: usize = 16;

/// Files that kubeadm makes for one machine. They are not taken over: each control plane gets its own.
const MACHINE_FILES: [&str; 14] = [
    "apiserver.crt",
    "apiserver.key",
    "apiserver-kubelet-client.crt",
    "apiserver-kubelet-client.key",
    "apiserver-etcd-client.crt",
    "apiserver-etcd-client.key",
    "front-proxy-client.crt",
    "front-proxy-client.key",
    "etcd/server.crt",
    "etcd/server.key",
    "etcd/peer.crt",
    "etcd/peer.key",
    "etcd/healthcheck-client.crt",
    "etcd/healthcheck-client.key",
];
const SHARED_FILES: [&str; 8] = [
    file::CA_CRT,
    file::CA_KEY,
    file::FRONT_PROXY_CA_CRT,
    file::FRONT_PROXY_CA_KEY,
    file::ETCD_CA_CRT,
    file::ETCD_CA_KEY,
    file::SA_KEY,
    file::SA_PUB,
];

/// A PKI that was taken over.
#[derive(Debug)]
pub struct Imported {
    /// The files.
    pub pki: ClusterPki,
    /// What an operator should know about them.
    pub report: ImportReport,
}

/// Checks the files of a kubeadm PKI directory, by their names relative to it. Only `ca.crt` is needed to add workers; what
/// else is missing is reported. A certificate without its key is an external authority.
///
/// # Errors
/// Everything that is wrong with any file that would be kept.
pub fn import(files: &BTreeMap<String, Vec<u8>>, now_ms: u64) -> Result<Imported, ImportError> {
    let mut reading = Reading { files, now_ms, kept: BTreeMap::new(), problems: Vec::new(), missing: Vec::new() };
    let authorities = Authority::ALL.into_iter().filter_map(|authority| reading.authority(authority)).collect();
    reading.service_accounts();
    if !reading.problems.is_empty() {
        return Err(ImportError { problems: reading.problems });
    }
    let (machine, unknown) = files
        .keys()
        .filter(|name| !SHARED_FILES.contains(&name.as_str()))
        .cloned()
        .partition(|name| MACHINE_FILES.contains(&name.as_str()));
    let report = ImportReport { authorities, missing: reading.missing, machine, unknown };
    Ok(Imported { pki: ClusterPki { files: reading.kept }, report })
}

struct Reading<'a> {
    files: &'a BTreeMap<String, Vec<u8>>,
    now_ms: u64,
    kept: BTreeMap<&'static str, PkiFile>,
    problems: Vec<FileProblem>,
    missing: Vec<&'static str>,
}

impl Reading<'_> {
    fn authority(&mut self, authority: Authority) -> Option<AuthorityReport> {
        let (certificate_file, key_file) = (authority.certificate_file(), authority.key_file());
        let certificates = self.files.get(certificate_file).map(|bytes| self.bundle(bytes));
        let key = self.files.get(key_file).map(|bytes| private_key(bytes));
        let certificates = match (certificates, &key) {
            (Some(Ok(certificates)), _) => certificates,
            (Some(Err(problem)), _) => return self.refuse(certificate_file, problem),
            (None, Some(_)) => {
                return self.refuse(key_file, Problem::KeyWithoutCertificate { certificate_file });
            }
            (None, None) if authority == Authority::Cluster => {
                return self.refuse(certificate_file, Problem::Missing);
            }
            (None, None) => {
                self.missing.extend([certificate_file, key_file]);
                return None;
            }
        };
        let key_report = match key {
            None => KeyReport::External,
            Some(Err(problem)) => return self.refuse(key_file, problem),
            Some(Ok(key)) if certificates.signing_key != key.pair.public_key_raw() => {
                return self.refuse(key_file, Problem::KeyOfAnother { certificate_file });
            }
            Some(Ok(key)) => {
                self.kept.insert(key_file, key.file);
                KeyReport::Present
            }
        };
        self.kept.insert(certificate_file, PkiFile::Public(certificates.text));
        Some(AuthorityReport { authority, certificates: certificates.reports, key: key_report })
    }

    fn service_accounts(&mut self) {
        let key = match self.files.get(file::SA_KEY).map(|bytes| private_key(bytes)) {
            None => None,
            Some(Ok(key)) => Some(key),
            Some(Err(problem)) => {
                self.refuse::<()>(file::SA_KEY, problem);
                return;
            }
        };
        let public = match self.files.get(file::SA_PUB).map(|bytes| public_key(bytes)) {
            None => None,
            Some(Ok(public)) => Some(public),
            Some(Err(problem)) => {
                self.refuse::<()>(file::SA_PUB, problem);
                return;
            }
        };
        match (key, public) {
            (Some(key), Some(public)) if key.pair.subject_public_key_info() != public.as_ref() => {
                self.refuse::<()>(file::SA_PUB, Problem::PublicKeyOfAnother { key_file: file::SA_KEY });
            }
            (Some(key), _) => {
                // kubeadm writes both; whoever kept the key alone lost nothing.
                let text = pem::encode("PUBLIC KEY", &key.pair.subject_public_key_info()).to_string();
                self.kept.insert(file::SA_PUB, PkiFile::Public(text));
                self.kept.insert(file::SA_KEY, key.file);
            }
            (None, Some(public)) => {
                let text = pem::encode("PUBLIC KEY", &public).to_string();
                self.kept.insert(file::SA_PUB, PkiFile::Public(text));
                self.missing.push(file::SA_KEY);
            }
            (None, None) => self.missing.extend([file::SA_KEY, file::SA_PUB]),
        }
    }

    fn refuse<T>(&mut self, file: &'static str, problem: Problem) -> Option<T> {
        self.problems.push(FileProblem { file, problem });
        None
    }

    fn bundle(&self, bytes: &[u8]) -> Result<Bundle, Problem> {
        check_length(bytes)?;
        let mut bundle = Bundle::default();
        for item in CertificateDer::pem_slice_iter(bytes) {
            if bundle.reports.len() == BUNDLE_CERTIFICATES_MAX {
                return Err(Problem::TooManyCertificates { max: BUNDLE_CERTIFICATES_MAX });
            }
            let der = item.map_err(|_| Problem::NotPem)?;
            let parsed = certificate::parse(&der).map_err(|_| Problem::NotACertificate)?;
            check_authority(&parsed, self.now_ms)?;
            if bundle.reports.is_empty() {
                bundle.signing_key = parsed.public_key().subject_public_key.data.to_vec();
            }
            bundle.reports.push(report(&parsed, self.now_ms));
            bundle.text.push_str(&pem::encode("CERTIFICATE", &der));
        }
        if bundle.reports.is_empty() { Err(Problem::NoCertificate) } else { Ok(bundle) }
    }
}

/// The certificates of one file. kubeadm signs with the key of the first.
#[derive(Default)]
struct Bundle {
    signing_key: Vec<u8>,
    reports: Vec<CertificateReport>,
    text: String,
}

struct ParsedKey {
    pair: KeyPair,
    file: PkiFile,
}

impl fmt::Debug for ParsedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

fn check_length(bytes: &[u8]) -> Result<(), Problem> {
    if bytes.len() > FILE_BYTES_MAX { Err(Problem::TooLong { bytes_max: FILE_BYTES_MAX }) } else { Ok(()) }
}

fn check_authority(certificate: &X509Certificate<'_>, now_ms: u64) -> Result<(), Problem> {
    if !certificate.is_ca() {
        return Err(Problem::NotAnAuthority);
    }
    // Without the extension nothing is restricted (RFC 5280, 4.2.1.3); `openssl req -x509` leaves it out.
    let usage = certificate.key_usage().map_err(|_| Problem::NotACertificate)?;
    if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err(Problem::MayNotSign);
    }
    let (not_before_ms, not_after_ms) = certificate::dates_ms(certificate);
    if now_ms > not_after_ms {
        return Err(Problem::Expired { days: (now_ms - not_after_ms) / DAY_MS });
    }
    if now_ms < not_before_ms {
        return Err(Problem::NotYetValid { minutes: (not_before_ms - now_ms) / 60_000 });
    }
    Ok(())
}

const DAY_MS: u64 = 24 * 3600 * 1000;

fn report(certificate: &X509Certificate<'_>, now_ms: u64) -> CertificateReport {
    let (_, not_after_ms) = certificate::dates_ms(certificate);
    CertificateReport {
        subject: certificate.subject().to_string(),
        pin: Pin::of_spki(certificate.public_key().raw),
        not_after_ms,
        expires_soon: not_after_ms < now_ms.saturating_add(EXPIRES_SOON_MS),
    }
}

fn private_key(bytes: &[u8]) -> Result<ParsedKey, Problem> {
    check_length(bytes)?;
    let Ok(der) = PrivateKeyDer::from_pem_slice(bytes) else {
        let encrypted = b"ENCRYPTED";
        let is_encrypted = bytes.windows(encrypted.len()).any(|window| window == encrypted);
        return Err(if is_encrypted { Problem::EncryptedKey } else { Problem::NotAKey });
    };
    let label = match &der {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        PrivateKeyDer::Pkcs8(_) => "PRIVATE KEY",
        _ => return Err(Problem::NotAKey),
    };
    let pair = KeyPair::try_from(&der).map_err(|_| Problem::UnusableKey)?;
    let file = PkiFile::Secret(pem::encode(label, der.secret_der()).into());
    Ok(ParsedKey { pair, file })
}

fn public_key(bytes: &[u8]) -> Result<SubjectPublicKeyInfoDer<'static>, Problem> {
    check_length(bytes)?;
    SubjectPublicKeyInfoDer::from_pem_slice(bytes).map_err(|_| Problem::NotAPublicKey)
}

#[cfg(test)]
mod tests;
