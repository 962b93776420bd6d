//! What is shown, by whom and to whom. The files themselves are fetched in `kubernetes/tests/discovering.rs`, with a cluster behind.

use std::{path::PathBuf, sync::Arc};

use muster_trust::{Role, https_config};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{WebCertificate, token};
use crate::{
    clock::now_ms,
    pki::{FleetPki, LeafTerms, certificates_to_pem, key_to_pem},
};

#[test]
fn a_token_is_shown_as_user_and_password() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let shown = |scheme: &str, pair: &str| token(format!("{scheme} {}", STANDARD.encode(pair)).as_bytes());
    for scheme in ["Basic", "basic", "BASIC"] {
        let token = shown(scheme, "abcdef:0123456789abcdef").unwrap();
        assert_eq!(token.expose().expose(), "abcdef.0123456789abcdef");
    }
    for pair in ["abcdef.0123456789abcdef", "abcdef:0123456789abcde", ":", "", "abcdef:0123456789abcdef:x"] {
        assert!(shown("Basic", pair).is_none(), "{pair}");
    }
    assert!(shown("Bearer", "abcdef:0123456789abcdef").is_none());
    for header in ["", "Basic", "Basic ", "Basic !", "Basic\tx"] {
        assert!(token(header.as_bytes()).is_none(), "{header:?}");
    }
}

/// An authority, and the files of a certificate of it.
struct Files {
    folder: TempDir,
    roots: RootCertStore,
}

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes certificate and key of another authority.
    fn renew(&mut self) {
        let pki = FleetPki::generate("web", now_ms()).unwrap().pki;
        let identity = pki.issue(&LeafTerms::server("1", vec!["boot.prod".into()]), now_ms()).unwrap();
        let chain = [identity.certified.chain[0].clone(), pki.authority(Role::Server).certificate().clone()];
        std::fs::write(self.path("crt"), certificates_to_pem(&chain)).unwrap();
        std::fs::write(self.path("key"), key_to_pem(&identity.key).as_bytes()).unwrap();
        self.roots = RootCertStore::empty();
        self.roots.add(pki.root().clone()).unwrap();
    }
}

/// Whether who trusts these roots alone takes what is shown.
async fn is_trusted(certificate: &Arc<WebCertificate>, roots: &RootCertStore) -> bool {
    let acceptor = TlsAcceptor::from(Arc::new(https_config(certificate.clone()).unwrap()));
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let serving = async { acceptor.accept(socket.accept().await.unwrap().0).await };
    let config = ClientConfig::builder_with_provider(muster_trust::provider());
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots.clone());
    let connector = TlsConnector::from(Arc::new(config.with_no_client_auth()));
    let name = ServerName::try_from("boot.prod").unwrap();
    let calling = async { connector.connect(name, TcpStream::connect(address).await.unwrap()).await };
    let (served, called) = tokio::join!(serving, calling);
    served.is_ok() && called.is_ok()
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart_and_one_that_does_not_fit_is_not() {
    let mut files = Files { folder: tempfile::tempdir().unwrap(), roots: RootCertStore::empty() };
    let read = |files: &Files| WebCertificate::read(files.path("crt"), files.path("key"));
    let missing = format!("{:#}", read(&files).unwrap_err());
    assert!(missing.contains("can't be read"), "{missing}");
    files.renew();
    let first = files.roots.clone();
    let certificate = Arc::new(read(&files).unwrap());
    assert!(is_trusted(&certificate, &first).await);
    assert!(!certificate.look().unwrap(), "nothing has changed");

    let old_key = std::fs::read(files.path("key")).unwrap();
    files.renew();
    let new_key = std::fs::read(files.path("key")).unwrap();
    std::fs::write(files.path("key"), old_key).unwrap();
    let half = format!("{:#}", certificate.look().unwrap_err());
    assert!(half.contains("is not the key of"), "{half}");
    assert!(is_trusted(&certificate, &first).await && !is_trusted(&certificate, &files.roots).await);
    std::fs::write(files.path("key"), new_key).unwrap();
    assert!(certificate.look().unwrap());
    assert!(is_trusted(&certificate, &files.roots).await && !is_trusted(&certificate, &first).await);

    std::fs::write(files.path("crt"), "no certificate").unwrap();
    assert!(format!("{:#}", certificate.look().unwrap_err()).contains("holds no certificate"));
}
