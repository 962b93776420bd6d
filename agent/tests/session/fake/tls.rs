//! Accepts TLS connections for tonic, which has no TLS of its own here, and says whose they are.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use muster_trust::Peer;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

/// The caller of a request; `None` on the enrolment listener.
#[derive(Clone)]
pub(crate) struct Caller(pub(crate) Option<Peer>);

pub(crate) struct Io(TlsStream<TcpStream>);

pub(crate) fn incoming(
    listener: TcpListener,
    config: ServerConfig,
    stop: CancellationToken,
) -> ReceiverStream<io::Result<Io>> {
    let (accepted, stream) = mpsc::channel(8);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        loop {
            let tcp = tokio::select! {
                tcp = listener.accept() => tcp,
                () = stop.cancelled() => return,
            };
            let Ok((tcp, _)) = tcp else { return };
            let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
            tokio::spawn(async move {
                // A caller that is not let in is no error of the listener.
                if let Ok(tls) = acceptor.accept(tcp).await {
                    drop(accepted.send(Ok(Io(tls))).await);
                }
            });
        }
    });
    ReceiverStream::new(stream)
}

impl Connected for Io {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        let shown = self.0.get_ref().1.peer_certificates();
        Caller(shown.map(|chain| Peer::of_certificates(chain).expect("the verifier let it in")))
    }
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
