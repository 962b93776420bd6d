//! TCP to TLS to gRPC, with a limit on everything an unknown peer can make us hold.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use muster_trust::Peer;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use crate::web::metrics::{self, AuthenticationFailure};

/// A handshake that takes longer is a peer that wastes our memory: ten round trips of a bad line fit.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Handshakes under way; each costs a signature.
const HANDSHAKES_MAX: usize = 256;
/// Accepted connections that tonic has not taken yet.
const ACCEPTED_QUEUE: usize = 64;

/// How much a listener lets in.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections from one address. A rack may stand behind one address.
    pub per_address: usize,
}

/// Who is at the other end of a connection, as found in a request's extensions.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Where it comes from.
    pub remote: SocketAddr,
    /// Who it is; absent on the enrolment listener.
    pub peer: Option<Peer>,
}

/// Accepts on `listener` until shutdown and hands verified connections to tonic.
pub fn accept(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    limits: Limits,
    shutdown: CancellationToken,
) -> ReceiverStream<io::Result<Accepted>> {
    let (accepted, queue) = mpsc::channel(ACCEPTED_QUEUE);
    tokio::spawn(accept_loop(listener, TlsAcceptor::from(tls), limits, accepted, shutdown));
    ReceiverStream::new(queue)
}

async fn accept_loop(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    limits: Limits,
    accepted: mpsc::Sender<io::Result<Accepted>>,
    shutdown: CancellationToken,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let places = Places::new(limits);
    loop {
        let (stream, remote) = tokio::select! {
            () = shutdown.cancelled() => return,
            next = listener.accept() => match next {
                Ok(next) => next,
                Err(err) => {
                    // Out of descriptors, or the peer was gone: wait a little rather than spin.
                    tracing::warn!(err = %err, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let Some(place) = places.take(remote.ip()) else {
            tracing::debug!(%remote, "refused a connection: the limit of connections is reached");
            continue;
        };
        let (acceptor, accepted, handshakes) = (acceptor.clone(), accepted.clone(), handshakes.clone());
        tokio::spawn(async move {
            // Waiting for a turn is bounded too: a crowd of idle connections must not hold places for minutes.
            let Ok(Ok(turn)) = timeout(HANDSHAKE_TIMEOUT, handshakes.acquire()).await else { return };
            let connection = handshake(acceptor, stream, remote, place).await;
            drop(turn);
            if let Some(connection) = connection {
                let _ = accepted.send(Ok(connection)).await;
            }
        });
    }
}

async fn handshake(acceptor: TlsAcceptor, stream: TcpStream, remote: SocketAddr, place: Place) -> Option<Accepted> {
    let _ = stream.set_nodelay(true);
    let stream = match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(err)) => {
            tracing::debug!(%remote, err = %err, "a TLS handshake failed");
            metrics::authentication_failed(AuthenticationFailure::Handshake);
            return None;
        }
        Err(_) => {
            tracing::debug!(%remote, "a TLS handshake took too long");
            return None;
        }
    };
    let peer = match stream.get_ref().1.peer_certificates() {
        None => None,
        Some(chain) => Some(Peer::of_certificates(chain).ok()?),
    };
    Some(Accepted { stream, connection: Connection { remote, peer }, _place: place })
}

/// A connection whose handshake is done.
pub struct Accepted {
    stream: TlsStream<TcpStream>,
    connection: Connection,
    _place: Place,
}

impl Connected for Accepted {
    type ConnectInfo = Connection;
    fn connect_info(&self) -> Connection {
        self.connection.clone()
    }
}

impl AsyncRead for Accepted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Counts connections, in all and by address.
#[derive(Clone)]
struct Places {
    limits: Limits,
    // Held for a map operation, never over an await.
    taken: Arc<Mutex<(usize, BTreeMap<IpAddr, usize>)>>,
}

struct Place {
    places: Places,
    address: IpAddr,
}

impl Places {
    fn new(limits: Limits) -> Self {
        Self { limits, taken: Arc::default() }
    }

    fn take(&self, address: IpAddr) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let same = taken.1.get(&address).copied().unwrap_or_default();
        if taken.0 >= self.limits.connections || same >= self.limits.per_address {
            return None;
        }
        taken.0 += 1;
        taken.1.insert(address, same + 1);
        Some(Place { places: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.0 -= 1;
        if let Some(same) = taken.1.get_mut(&self.address) {
            *same -= 1;
            if *same == 0 {
                taken.1.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_by_address_and_in_all_and_given_back() {
        let places = Places::new(Limits { connections: 3, per_address: 2 });
        let (a, b) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = places.take(a);
        let second = places.take(a);
        assert!(first.is_some() && second.is_some() && places.take(a).is_none());
        let third = places.take(b);
        assert!(third.is_some() && places.take(b).is_none());
        drop(first);
        assert!(places.take(b).is_some());
    }
}
