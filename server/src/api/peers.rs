//! The listener for other servers, 9446.

use std::sync::Arc;
use std::time::Duration;

use muster_proto::internal::raft::v1::peer_service_server::{PeerService, PeerServiceServer};
use muster_trust::{IdentityCell, IdentityError, RoleVerifier, server_config_with};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::{Routes, interceptor::InterceptedService};
use tonic::transport::Server;
use tonic::{Request, Status};

use super::access::{AccessLayer, Listener};
use super::listener::{Connection, Limits, accept};
use crate::peers::service::Caller;
use crate::web::grpc::GrpcMetrics;

/// A handful of servers with two connections each, some of them dialled anew before the old one is known to be gone. Several
/// may stand behind one address.
const PEERS: Limits = Limits { connections: 256, per_address: 128 };
/// Calls of one connection: heartbeats, and relays with thousands of agents.
const STREAMS_PER_CONNECTION: u32 = 256;
/// What may be under way to us unasked, per call and per connection: a message of entries without a pause.
const WINDOW_BYTES: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// Calls that a peer gave up while this server was stalled are reset all at once: ten a second for a minute.
const RESETS_MAX: usize = 600;
/// Bytes of headers: ours are small.
const HEADERS_MAX: u32 = 8 * 1024;
/// A peer that vanished without a word is noticed within interval and time-out.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves peers that `servers` admits with what [`crate::peers::service::service`] made; the future ends when the listener has
/// drained.
///
/// # Errors
/// If the identity can't be used.
pub fn serve<S: PeerService>(
    service: PeerServiceServer<S>,
    socket: TcpListener,
    identity: Arc<IdentityCell>,
    servers: RoleVerifier,
    shutdown: CancellationToken,
) -> Result<impl Future<Output = ()> + Send + use<S>, IdentityError> {
    let tls = Arc::new(server_config_with(identity, Some(servers))?);
    let incoming = accept(socket, tls, PEERS, shutdown.clone());
    let routes = Routes::new(InterceptedService::new(service, name_caller));
    let served = Server::builder()
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_pending_accept_reset_streams(Some(RESETS_MAX))
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_header_list_size(HEADERS_MAX)
        .layer(GrpcMetrics::of_contracts())
        .layer(AccessLayer(Listener::Peers))
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned());
    Ok(async move {
        if let Err(err) = served.await {
            tracing::error!(err = %err, "the peers' listener ended");
        }
    })
}

/// The service knows a caller by what the connection proved.
fn name_caller(mut request: Request<()>) -> Result<Request<()>, Status> {
    let peer = request.extensions().get::<Connection>().and_then(|connection| connection.peer.clone());
    if let Some(peer) = peer {
        request.extensions_mut().insert(Caller(peer));
    }
    Ok(request)
}
