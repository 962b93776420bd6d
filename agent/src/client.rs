//! gRPC channels over rustls. TLS is made here and handed to tonic as a ready stream, so that verification is the one of
//! `muster-trust` (the pin as the only anchor) and nothing of tonic's own.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::url::ServerUrl;

/// TCP and TLS together: a server that is up answers within milliseconds, one behind a bad link within seconds.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// An idle stream is asked for a sign of life this often; a dead server or a lost route is noticed within this and
/// [`KEEP_ALIVE_LIMIT`].
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// How long the sign of life may take.
const KEEP_ALIVE_LIMIT: Duration = Duration::from_secs(10);

/// Why no channel could be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// TCP or TLS.
    #[error("{address}: {source}")]
    Io {
        /// Who was called.
        address: String,
        /// What went wrong; for TLS the verifier's own words.
        source: io::Error,
    },
    /// HTTP/2.
    #[error("{address}: {source}")]
    Http {
        /// Who was called.
        address: String,
        /// What went wrong.
        source: tonic::transport::Error,
    },
}

/// A channel to a Muster server.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect_server(url: &ServerUrl, config: Arc<ClientConfig>) -> Result<Channel, ConnectError> {
    // The name that was dialled proves nothing and is checked by nobody: a server is who its SPIFFE id says.
    let name = ServerName::try_from(url.host().to_owned())
        .unwrap_or_else(|_| ServerName::from(std::net::IpAddr::from([0, 0, 0, 0])));
    connect(&url.authority(), name, config).await
}

/// A channel to `address` (`host:port`), whose certificate is checked for `name` by `config`'s verifier.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect(
    address: &str,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
) -> Result<Channel, ConnectError> {
    let stream =
        dial(address, name, config).await.map_err(|source| ConnectError::Io { address: address.to_owned(), source })?;
    let http = |source| ConnectError::Http { address: address.to_owned(), source };
    // "http": tonic must not try TLS a second time.
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(http)?
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_LIMIT)
        .keep_alive_while_idle(true);
    let mut ready = Some(stream);
    // One connection, one channel: a second one would be a reconnect that nobody has noticed.
    let connector = service_fn(move |_: Uri| {
        let stream = ready.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        async move { stream.map(TokioIo::new) }
    });
    endpoint.connect_with_connector(connector).await.map_err(http)
}

async fn dial(address: &str, name: ServerName<'static>, config: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let dial = async {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        TlsConnector::from(config).connect(name, tcp).await
    };
    timeout(CONNECT_LIMIT, dial).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
