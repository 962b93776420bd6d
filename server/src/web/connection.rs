//! HTTP/1.1 on one connection, with a limit on what an unknown peer can make us hold and for how long.

use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// From the first byte of a request to the end of its header: a probe on a bad line needs less.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a request's header: what calls here sends a few hundred.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// The life of a connection, so that idle ones cannot hold all the places. Scrapers connect again.
const CONNECTION_LIFE_MAX: Duration = Duration::from_secs(60);
/// How long answers under way may take after shutdown was asked for.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// Answers the requests of one connection until it ends, is too old, or `shutdown`.
pub(crate) async fn answer<S>(stream: S, router: Router, shutdown: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut server = auto::Builder::new(TokioExecutor::new()).http1_only();
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(HEADER_BYTES_MAX);
    let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // A peer that breaks off is not news.
        _ = connection.as_mut() => return,
        () = shutdown.cancelled() => {}
        () = sleep(CONNECTION_LIFE_MAX) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(GRACE, connection).await;
}
