//! rustls settings for every Muster connection: TLS 1.3, HTTP/2 (HTTP/1.1 where stock programs call), no resumption, the aws-lc-rs
//! provider by name.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use crate::identity::{IdentityCell, IdentityError, TlsIdentity};
use crate::verify::{Anchor, RoleVerifier, ServerVerifier};

/// What stock programs speak with the one listener that is for them. Agents and operators never accept it, so that nobody can
/// lead their connections there.
pub const ALPN_HTTP1: &[u8] = b"http/1.1";

/// The application protocol of every other listener.
pub const ALPN_H2: &[u8] = b"h2";

/// The cryptography of every Muster connection. It is passed by name everywhere, so that nothing depends on which
/// provider the process installed as its default.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Settings to call a server of the fleet that `anchor` names, and of `fleet` alone if that is given. `client` is what
/// this end shows; without it only the enrolment listener lets it in.
///
/// # Errors
/// If the client's chain and key cannot be used.
pub fn client_config(
    anchor: Anchor,
    fleet: Option<&str>,
    client: Option<TlsIdentity>,
) -> Result<ClientConfig, IdentityError> {
    let mut verifier = ServerVerifier::new(anchor);
    if let Some(fleet) = fleet {
        verifier = verifier.expecting_fleet(fleet);
    }
    let client = client.map(IdentityCell::new).transpose()?.map(Arc::new);
    client_config_with(verifier, client)
}

/// As [`client_config`], for a caller that expects one particular server or replaces its own certificate while running.
///
/// # Errors
/// If rustls refuses the provider, which a test rules out.
pub fn client_config_with(
    verifier: ServerVerifier,
    client: Option<Arc<IdentityCell>>,
) -> Result<ClientConfig, IdentityError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(IdentityError::Key)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match client {
        Some(cell) => builder.with_client_cert_resolver(cell),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    // A resumed session would outlive the revocation or the expiry of the certificate it began with.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Settings of a listener that shows `identity` (its chain includes the fleet root) and lets in only whom `client_auth`
/// admits; without it, anyone, as the enrolment listener must.
///
/// # Errors
/// If the chain and the key cannot be used.
pub fn server_config(identity: TlsIdentity, client_auth: Option<RoleVerifier>) -> Result<ServerConfig, IdentityError> {
    server_config_with(Arc::new(IdentityCell::new(identity)?), client_auth)
}

/// As [`server_config`], with an identity that can be replaced while the listener runs. One cell may serve several
/// listeners.
///
/// # Errors
/// If rustls refuses the provider, which a test rules out.
pub fn server_config_with(
    identity: Arc<IdentityCell>,
    client_auth: Option<RoleVerifier>,
) -> Result<ServerConfig, IdentityError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(IdentityError::Key)?;
    let builder = match client_auth {
        Some(verifier) => builder.with_client_cert_verifier(Arc::new(verifier)),
        None => builder.with_no_client_auth(),
    };
    Ok(sessionless(builder.with_cert_resolver(identity), ALPN_H2))
}

/// Settings of a listener for stock programs, which know nothing of the fleet: it shows what `certificate` says and asks for none.
///
/// # Errors
/// If rustls refuses the provider, which a test rules out.
pub fn https_config(certificate: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, IdentityError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(IdentityError::Key)?;
    Ok(sessionless(builder.with_no_client_auth().with_cert_resolver(certificate), ALPN_HTTP1))
}

/// A resumed session would outlive the certificate it began with.
fn sessionless(mut config: ServerConfig, protocol: &[u8]) -> ServerConfig {
    config.alpn_protocols = vec![protocol.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config
}
