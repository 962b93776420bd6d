//! Muster's servers, their operators and their agents.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use muster_agent::client::connect_server;
use muster_proto::admin::v1::admin_service_client::AdminServiceClient;
use muster_proto::admin::v1::{CreateTokenRequest, NodeRequest, Selector};
use muster_tests::raw::{self, Listener};
use muster_tests::{ClusterFile, Fleet, Server, ServerSettings};
use muster_trust::{Anchor, client_config};
use prost::Message as _;
use rustls::ClientConfig;
use tonic::transport::Channel;

use crate::agents::{Agent, Identity, enrol};
use crate::system::{COMMAND_BYTES, System, Writer, change_text};

/// Life of the tokens that commands make.
const TTL: Duration = Duration::from_secs(3600);

/// A running fleet with admitted machines.
pub(crate) struct Muster {
    fleet: Fleet,
    /// Where servers listen, the leader first.
    addresses: Vec<Ipv4Addr>,
    operator: Arc<ClientConfig>,
    machines: Vec<Identity>,
    nodes: Arc<[String]>,
    /// Tells commands of all writers apart, over all rows.
    next: Arc<AtomicU64>,
}

impl Muster {
    /// A fleet of so many servers that has admitted `machines` workers, none of which is attached.
    pub(crate) async fn founded(servers: usize, settings: &ServerSettings, machines: usize) -> Result<Self> {
        let fleet = Arc::new(Fleet::with(servers, settings)?);
        let founder = &fleet.servers[0];
        ClusterFile::new("bench").pool("worker", "worker", "token", &[]).apply(founder)?;
        let pin = founder.door()?.pin.parse()?;
        let operator = Arc::new(client_config(Anchor::Pin(pin), None, Some(raw::operator(founder)?))?);
        let machines = enrol(&fleet, machines).await?;
        let mut fleet = Arc::into_inner(fleet).context("somebody still enrols")?;
        restart(&mut fleet)?;
        let leader = fleet.leader()?;
        let mut addresses: Vec<Ipv4Addr> = fleet.servers.iter().map(Server::address).collect();
        addresses.swap(0, leader);
        let nodes = machines.iter().map(|machine| machine.node_id().to_owned()).collect();
        Ok(Self { fleet, addresses, operator, machines, nodes, next: Arc::default() })
    }

    /// Ends it in order, which also shows that it has survived the load.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.fleet.servers.iter_mut().try_for_each(Server::stop)
    }

    fn url(&self, number: usize, listener: Listener) -> String {
        format!("{}:{}", self.addresses[number % self.addresses.len()], listener.port())
    }
}

/// What enrolments left behind in an allocator must not be taken for room for agents.
fn restart(fleet: &mut Fleet) -> Result<()> {
    fleet.servers.iter_mut().try_for_each(Server::stop)?;
    fleet.servers.iter_mut().try_for_each(Server::start)?;
    fleet.servers.iter_mut().try_for_each(Server::wait_ready)
}

impl System for Muster {
    type Writer = Operator;
    type Watcher = Agent;

    async fn writer(&self, number: usize) -> Result<Operator> {
        let url = self.url(number, Listener::Operators).parse()?;
        let channel = connect_server(&url, self.operator.clone()).await?;
        let client = AdminServiceClient::new(channel);
        Ok(Operator { client, next: self.next.clone(), nodes: self.nodes.clone() })
    }

    fn attach(&self, number: usize) -> Result<impl Future<Output = Result<Agent>> + Send + 'static> {
        let machine = self.machines.get(number).context("no such machine")?;
        Agent::prepared(&self.url(number, Listener::Nodes), machine)
    }

    fn processes(&self) -> Vec<u32> {
        self.fleet.servers.iter().filter_map(Server::process_id).collect()
    }
}

/// An operator's connection.
#[derive(Clone)]
pub(crate) struct Operator {
    client: AdminServiceClient<Channel>,
    next: Arc<AtomicU64>,
    nodes: Arc<[String]>,
}

impl Operator {
    fn request_id(&self) -> (u64, String) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number, format!("00000000-0000-4000-8000-{number:012}"))
    }

    fn node(&self, watcher: usize, reason: String) -> Result<NodeRequest> {
        let node = self.nodes.get(watcher).context("no such node")?.clone();
        Ok(NodeRequest { request_id: self.request_id().1, node, reason })
    }
}

impl Writer for Operator {
    async fn command(&self) -> Result<()> {
        let (number, request_id) = self.request_id();
        let mut request = CreateTokenRequest {
            request_id,
            id: format!("{number:08}"),
            sha256: vec![7; 32],
            cluster: "bench".to_owned(),
            pool: "worker".to_owned(),
            ttl_seconds: TTL.as_secs(),
            uses: 1,
            selector: Some(Selector::default()),
            ..CreateTokenRequest::default()
        };
        let filling = COMMAND_BYTES.saturating_sub(request.encoded_len());
        let labels = (0..2).map(|number| (format!("label-{number}"), "x".repeat(filling / 2 - 20))).collect();
        request.selector = Some(Selector { labels, ..Selector::default() });
        self.client.clone().create_token(request).await?;
        Ok(())
    }

    async fn change(&self, watcher: usize, round: usize) -> Result<()> {
        self.client.clone().lock_node(self.node(watcher, change_text(round))?).await?;
        Ok(())
    }

    async fn restore(&self, watcher: usize) -> Result<()> {
        self.client.clone().unlock_node(self.node(watcher, String::new())?).await?;
        Ok(())
    }
}
