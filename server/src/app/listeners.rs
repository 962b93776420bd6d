//! One listener per role, each with its own anchors, limits and services.

use std::{sync::Arc, time::Duration};

use muster_proto::{
    admin::v1::admin_service_server::AdminServiceServer,
    enrolment::v1::enrolment_service_server::EnrolmentServiceServer, join::v1::join_service_server::JoinServiceServer,
};
use muster_trust::{IdentityCell, Role, https_config, server_config_with};
use rustls::server::ResolvesServerCert;
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::{Server, server::Connected as _},
};

use crate::{
    api::{
        access::{AccessLayer, Listener},
        admin::Admin,
        enrolment::Enrolment,
        join::Join,
        leader::Leader,
        listener::{Accepted, Limits, accept},
        opening::OpeningLayer,
        voters::Voters,
    },
    discovery::{self, WebCertificate},
    operations::{Unsealed, discovery_file::DiscoveryFiles},
    web::grpc::GrpcMetrics,
};

/// Unknown machines. A rack of 500 behind one address boots at once.
const ENROLMENT: Limits = Limits { connections: 12_000, per_address: 1_024 };
/// Nodes hold one connection each; a renewal overlaps. A site of 4,000 may stand behind one address, and no single
/// address can take all places.
const NODES: Limits = Limits { connections: 24_000, per_address: 8_000 };
/// People and pipelines.
const OPERATORS: Limits = Limits { connections: 512, per_address: 256 };
/// Machines without an agent, which fetch one file each. A rack may stand behind one address.
const DISCOVERY: Limits = Limits { connections: 1_024, per_address: 512 };
/// Messages from agents: a CSR, facts and a page of log lines fit many times.
const FROM_AGENTS_MAX: usize = 256 * 1024;
/// Messages from operators: an imported PKI and a cluster file with thousands of named nodes.
const FROM_OPERATORS_MAX: usize = 4 * 1024 * 1024;
/// Messages to agents: an instruction with its payloads; tonic's own default is no limit.
const TO_AGENTS_MAX: usize = 16 * 1024 * 1024;
/// Messages to operators: a list of ten thousand nodes with their facts and steps is about 30 MiB, and the command line
/// takes as much as this.
const TO_OPERATORS_MAX: usize = 64 * 1024 * 1024;
/// A peer that vanished without a word is noticed within keep-alive interval and time-out.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams of one connection: an agent needs two, an operator's command line a handful.
const STREAMS_PER_CONNECTION: u32 = 32;
/// Bytes of headers: ours are small.
const HEADERS_MAX: u32 = 8 * 1024;

/// Where machines come in.
pub(super) struct Machines {
    pub(super) enrolment: TcpListener,
    pub(super) nodes: TcpListener,
}

/// Where anybody but other servers comes in.
pub(super) struct Sockets {
    pub(super) machines: Machines,
    pub(super) operators: TcpListener,
    pub(super) discovery: Option<Web>,
}

/// Where stock kubeadm comes in.
pub(super) struct Web {
    pub(super) socket: TcpListener,
    /// The operator's own; without it, the fleet's is shown.
    pub(super) certificate: Option<Arc<WebCertificate>>,
}

/// What listeners have in common.
pub(super) struct Listen<'a> {
    pub(super) server: &'a Unsealed,
    pub(super) identity: Arc<IdentityCell>,
    pub(super) shutdown: &'a CancellationToken,
}

impl Listen<'_> {
    /// Starts the listener for operators, who get little before `serves` is cancelled; the future ends when it has drained.
    pub(super) fn to_operators(
        &self,
        voters: &Voters,
        socket: TcpListener,
        serves: &CancellationToken,
    ) -> anyhow::Result<impl Future<Output = ()> + use<>> {
        let leader = Leader { client: voters.client.clone(), ledger: voters.ledger.clone() };
        let admin = AdminServiceServer::new(Admin { server: self.server.clone(), leader })
            .max_decoding_message_size(FROM_OPERATORS_MAX)
            .max_encoding_message_size(TO_OPERATORS_MAX);
        self.listen(Listener::Operators, socket, OPERATORS, serves.clone(), Routes::new(admin))
    }

    /// Starts the listeners for machines; the future ends when they have drained.
    pub(super) fn to_machines(
        &self,
        voters: &Voters,
        sockets: Machines,
    ) -> anyhow::Result<impl Future<Output = ()> + use<>> {
        let enrolment = EnrolmentServiceServer::new(Enrolment { server: self.server.clone(), voters: voters.clone() })
            .max_decoding_message_size(FROM_AGENTS_MAX)
            .max_encoding_message_size(TO_AGENTS_MAX);
        let join = JoinServiceServer::new(Join { server: self.server.clone(), voters: voters.clone() })
            .max_decoding_message_size(FROM_AGENTS_MAX)
            .max_encoding_message_size(TO_AGENTS_MAX);
        let serves = CancellationToken::new();
        serves.cancel();
        let (enrolment, join) = (Routes::new(enrolment), Routes::new(join));
        let enrolment = self.listen(Listener::Enrolment, sockets.enrolment, ENROLMENT, serves.clone(), enrolment)?;
        let nodes = self.listen(Listener::Nodes, sockets.nodes, NODES, serves, join)?;
        Ok(async move {
            tokio::join!(enrolment, nodes);
        })
    }

    /// Starts the listener for machines without an agent; the future ends when it has drained.
    pub(super) fn to_kubeadm(&self, web: Web) -> anyhow::Result<impl Future<Output = ()> + use<>> {
        let shown: Arc<dyn ResolvesServerCert> = match &web.certificate {
            Some(certificate) => certificate.clone(),
            None => self.identity.clone(),
        };
        let tls = Arc::new(https_config(shown)?);
        let incoming = accept(web.socket, tls, DISCOVERY, self.shutdown.clone());
        let incoming = incoming.filter_map(|accepted: std::io::Result<Accepted>| {
            let accepted = accepted.ok()?;
            let from = accepted.connect_info().remote.ip();
            Some((accepted, from))
        });
        let served = discovery::serve(incoming, DiscoveryFiles::new(self.server.clone()), self.shutdown.clone());
        let stop = self.shutdown.clone();
        let followed = async {
            if let Some(certificate) = web.certificate {
                certificate.follow(stop).await
            }
        };
        Ok(async {
            tokio::join!(served, followed);
        })
    }

    fn listen(
        &self,
        listener: Listener,
        socket: TcpListener,
        limits: Limits,
        serves: CancellationToken,
        routes: Routes,
    ) -> anyhow::Result<impl Future<Output = ()> + use<>> {
        let role = match listener {
            Listener::Enrolment => None,
            Listener::Nodes => Some(Role::Node),
            Listener::Operators => Some(Role::Operator),
            Listener::Peers => Some(Role::Server),
        };
        let verifier = role.map(|role| self.server.anchors.role_verifier(role)).transpose()?;
        let tls = Arc::new(server_config_with(self.identity.clone(), verifier)?);
        let incoming = accept(socket, tls, limits, self.shutdown.clone());
        let stop = self.shutdown.clone();
        Ok(async move {
            let served = Server::builder()
                .max_concurrent_streams(if listener == Listener::Enrolment { 2 } else { STREAMS_PER_CONNECTION })
                .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
                .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
                .http2_max_header_list_size(HEADERS_MAX)
                .layer(GrpcMetrics::of_contracts())
                .layer(AccessLayer(listener))
                .layer(OpeningLayer(serves))
                .add_routes(routes)
                .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
                .await;
            if let Err(err) = served {
                tracing::error!(?listener, err = %err, "a listener ended");
            }
        })
    }
}
