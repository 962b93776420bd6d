//! An authority of our own for etcd, a certificate for its members and one for its clients.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use muster_trust::provider;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// What members and clients show and trust.
pub(crate) struct Tls {
    pub(crate) authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) client: Arc<ClientConfig>,
}

/// Makes everything; what etcd reads goes into `directory`.
pub(crate) fn make(directory: &Path) -> Result<Tls> {
    fs::create_dir_all(directory)?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    // Members call each other with what they show to clients.
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()])?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let member_key = KeyPair::generate()?;
    let member = params.signed_by(&member_key, &authority)?;
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let client_key = KeyPair::generate()?;
    let client = params.signed_by(&client_key, &authority)?;
    let paths = ["ca.crt", "member.crt", "member.key"].map(|name| directory.join(name));
    for (path, text) in paths.iter().zip([authority.pem(), member.pem(), member_key.serialize_pem()]) {
        fs::write(path, text)?;
    }
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone())?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(client_key.serialize_der()));
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![client.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // Machines that boot have no ticket, and Muster gives none.
    config.resumption = Resumption::disabled();
    let [authority, certificate, key] = paths;
    Ok(Tls { authority, certificate, key, client: Arc::new(config) })
}
