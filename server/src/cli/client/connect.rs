//! One connection to one server.

use std::error::Error as StdError;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use muster_trust::{Anchor, Pin, TlsIdentity};
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure, chain};

/// Longest a handshake may take; a server that is there answers in milliseconds.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How often an open stream is probed, so that a watch notices a server that lost its power.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// How long the answer to a probe may take.
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(10);

/// The TLS settings of a context.
///
/// # Errors
/// If pin, certificate or key are missing or do not fit.
pub(super) fn tls_of(context: &Context) -> Result<Arc<ClientConfig>, Failure> {
    let invalid = |message: String| Failure::new(Exit::Invalid, message);
    let pin: Pin = context.ca_hash.parse().map_err(|error| invalid(format!("ca_hash of the context: {error}")))?;
    let unreadable = |what: &str, path: &Path, error: rustls_pki_types::pem::Error| {
        invalid(format!("cannot read the operator's {what}: {}: {error}", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(&context.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable("certificate", &context.certificate, error))?;
    let key = PrivateKeyDer::from_pem_file(&context.key).map_err(|error| unreadable("key", &context.key, error))?;
    let config = muster_trust::client_config(Anchor::Pin(pin), None, Some(TlsIdentity { chain, key }))
        .map_err(|error| invalid(format!("{}: {error}", context.certificate.display())))?;
    Ok(Arc::new(config))
}

/// Connects, handshake included, within `limit` and a bound of our own.
///
/// # Errors
/// If the server is not reached or not trusted.
pub(super) async fn connect(server: &Uri, tls: Arc<ClientConfig>, limit: Duration) -> Result<Channel, Failure> {
    let endpoint = Endpoint::from(server.clone())
        .connect_timeout(CONNECT_MAX.min(limit))
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_MAX)
        .keep_alive_while_idle(true);
    let connector = tower::service_fn(move |uri: Uri| {
        let tls = Arc::clone(&tls);
        async move { dial(&uri, tls).await.map(TokioIo::new) }
    });
    endpoint.connect_with_connector(connector).await.map_err(|error| failure_of(server, &error))
}

async fn dial(server: &Uri, tls: Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, std::io::Error> {
    let host = server.host().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let stream = TcpStream::connect((host, server.port_u16().unwrap_or_default())).await?;
    stream.set_nodelay(true)?;
    // The name proves nothing: a server is known by its certificate's identity and the pin.
    let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
    TlsConnector::from(tls).connect(name, stream).await
}

fn failure_of(server: &Uri, error: &(dyn StdError + 'static)) -> Failure {
    let authority = server.authority().map(ToString::to_string).unwrap_or_default();
    match Failure::of_tls(error) {
        Some(failure) => Failure { message: format!("{authority}: {}", failure.message), ..failure },
        None => Failure::new(Exit::Unreachable, format!("{authority}: {}", chain(error))),
    }
}
