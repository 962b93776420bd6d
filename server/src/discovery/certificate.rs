//! The operator's own certificate, which machines trust: read from its files, and again when they change.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::{pki::not_after_ms, web::metrics};

/// How often the files are looked at. Whoever renews them writes one after the other, and need not tell anybody.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Largest file that is read, in bytes: a chain of a dozen certificates is a fifth of it.
const BYTES_MAX: u64 = 256 * 1024;

/// A certificate and its key in PEM files. What was read last, and fits, is shown.
pub struct WebCertificate {
    certificate: PathBuf,
    key: PathBuf,
    // Nothing is awaited or computed while it is held.
    current: RwLock<Current>,
}

#[derive(Clone)]
struct Current {
    shown: Arc<CertifiedKey>,
    /// Of both files.
    digest: [u8; 32],
}

impl WebCertificate {
    /// What is in these files.
    ///
    /// # Errors
    /// If one can't be read, or they do not belong together.
    pub fn read(certificate: PathBuf, key: PathBuf) -> anyhow::Result<Self> {
        let current = read(&certificate, &key)?;
        Ok(Self { certificate, key, current: RwLock::new(current) })
    }

    /// Shows from the next handshake on what is in the files, if that is another thing now. Says whether it is.
    ///
    /// # Errors
    /// As [`WebCertificate::read`]; what was shown is shown on.
    pub fn look(&self) -> anyhow::Result<bool> {
        let next = read(&self.certificate, &self.key)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = next.digest != current.digest;
        *current = next;
        Ok(is_new)
    }

    /// Looks every minute, until shutdown.
    pub async fn follow(self: Arc<Self>, shutdown: CancellationToken) {
        let mut told = false;
        loop {
            self.tell_its_end();
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            match self.look() {
                Ok(is_new) => {
                    told = false;
                    if is_new {
                        tracing::info!(path = %self.certificate.display(), "the certificate for discovery over HTTPS was replaced");
                    }
                }
                // Half-way through being replaced it may not fit; once is enough to say.
                Err(err) if !told => {
                    told = true;
                    tracing::warn!(err = %format!("{err:#}"), "the certificate for discovery over HTTPS can't be read again: the one before is shown");
                }
                Err(_) => {}
            }
        }
    }

    fn shown(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).shown)
    }

    fn tell_its_end(&self) {
        let end = self.shown().cert.first().and_then(|leaf| not_after_ms(leaf).ok());
        end.into_iter().for_each(metrics::discovery_certificate_ends);
    }
}

impl ResolvesServerCert for WebCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown())
    }
}

impl fmt::Debug for WebCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WebCertificate").field(&self.certificate).finish()
    }
}

fn read(certificate: &Path, key: &Path) -> anyhow::Result<Current> {
    let (chain_pem, key_pem) = (content(certificate)?, content(key)?);
    let of = |path: &Path, what: &str| format!("{}: {what}", path.display());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&chain_pem)
        .collect::<Result<_, _>>()
        .with_context(|| of(certificate, "holds something else than certificates in PEM"))?;
    ensure!(!chain.is_empty(), of(certificate, "holds no certificate in PEM"));
    let private = PrivateKeyDer::from_pem_slice(&key_pem).with_context(|| of(key, "holds no private key in PEM"))?;
    let shown = CertifiedKey::from_der(chain, private, &muster_trust::provider())
        .with_context(|| of(key, &format!("is not the key of {}", certificate.display())))?;
    let digest = Sha256::new().chain_update(chain_pem.as_slice()).chain_update(key_pem.as_slice()).finalize().into();
    Ok(Current { shown: Arc::new(shown), digest })
}

fn content(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    use std::io::Read as _;
    let wrong = || format!("{} can't be read", path.display());
    let mut content = Zeroizing::new(Vec::new());
    std::fs::File::open(path)
        .and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut content))
        .with_context(wrong)?;
    ensure!(content.len() as u64 <= BYTES_MAX, "{} is longer than {BYTES_MAX} bytes", path.display());
    Ok(content)
}
