//! TCP to TLS to HTTP/2, towards one server and no other.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use muster_trust::{Anchor, IdentityCell, ServerVerifier, client_config_with};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use crate::consensus::types::{Peer, ServerId};

/// Longest that dialling may take, handshake included. A packet that is lost is sent again after a second.
const DIAL_WITHIN: Duration = Duration::from_millis(1500);
/// How often the other end of a connection is asked whether it is there, whether there are calls or not.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// How long its answer may take. Half a second of a busy machine is no death.
const KEEP_ALIVE_WITHIN: Duration = Duration::from_secs(2);
/// What may be under way to us unasked: answers are small.
const WINDOW_BYTES: u32 = 1024 * 1024;

/// Who this server is to its peers, and how it knows them.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The fleet's id.
    pub fleet: String,
    /// This server's id.
    pub id: ServerId,
    /// The fleet root, by which other servers are known.
    pub root: CertificateDer<'static>,
    /// What this server shows; its content may be replaced while connections stand.
    pub identity: Arc<IdentityCell>,
}

/// A server to be reached.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) id: ServerId,
    pub(super) peer: Peer,
    pub(super) credentials: Arc<Credentials>,
}

/// Makes one connection. The channel it gives never dials again by itself: that would be unseen.
///
/// # Errors
/// A sentence, if the server is not reached or is not the one that was meant.
pub(super) async fn dial(target: &Target) -> Result<Channel, String> {
    match timeout(DIAL_WITHIN, connect(target)).await {
        Ok(connected) => connected,
        Err(_) => Err(format!("no connection to {} within {} ms", target.peer.address, DIAL_WITHIN.as_millis())),
    }
}

async fn connect(target: &Target) -> Result<Channel, String> {
    let address = &target.peer.address;
    let stream = secured(target).await.map_err(|error| format!("{address}: {}", chain(&error)))?;
    let mut stream = Some(TokioIo::new(stream));
    let once = tower::service_fn(move |_| {
        let stream = stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        async move { stream }
    });
    // The authority of the requests. Nothing is decided by it, and an address need not be a valid one.
    let endpoint = Endpoint::from_static("https://server.muster")
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(4 * WINDOW_BYTES)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_WITHIN)
        .keep_alive_while_idle(true);
    endpoint.connect_with_connector(once).await.map_err(|error| format!("{address}: {}", chain(&error)))
}

async fn secured(target: &Target) -> io::Result<TlsStream<TcpStream>> {
    let Credentials { fleet, id: _, root, identity } = target.credentials.as_ref();
    let stream = TcpStream::connect(target.peer.address.as_str()).await?;
    stream.set_nodelay(true)?;
    // On each connection: whoever answers at that address must be the server that is meant, of this fleet.
    let verifier =
        ServerVerifier::new(Anchor::Root(root.clone())).expecting_fleet(fleet).expecting_server(&target.id.to_string());
    let config = client_config_with(verifier, Some(identity.clone())).map_err(io::Error::other)?;
    // A name must be given and proves nothing.
    let name = ServerName::try_from("server.muster").map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// An error with its causes, in one line.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = error.source();
    }
    words
}
