//! Three members of etcd from the machine's own packages, and their clients.

mod tls;
mod wire;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use muster_agent::client::connect;
use muster_tests::eventually_async;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::system::{COMMAND_BYTES, System, Watcher, Writer, change_text, round_mark};
use wire::{PutRequest, WatchCreateRequest, WatchRequest, WatchResponse, watch_request};

/// As many as the smallest group that survives a loss has.
const MEMBERS: usize = 3;
/// An empty group elects its leader within a few seconds.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A running group. Dropping it kills the members.
pub(crate) struct Etcd {
    members: Vec<Member>,
    /// `host:port` for clients, the leader's first.
    endpoints: Vec<String>,
    client: Arc<ClientConfig>,
}

struct Member(Child);

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Etcd {
    /// The version on this machine, or nothing where there is none.
    pub(crate) fn installed() -> Result<Option<String>> {
        let output = match Command::new("etcd").arg("--version").output() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            output => output.context("etcd can't be run")?,
        };
        let words = String::from_utf8_lossy(&output.stdout);
        let version =
            words.lines().find_map(|line| line.strip_prefix("etcd Version: ")).context("no version of etcd")?;
        Ok(Some(format!("etcd {version}")))
    }

    /// Starts the members with their data below `home`.
    pub(crate) fn start(home: &Path) -> Result<Self> {
        let tls = tls::make(&home.join("tls"))?;
        let ports = free_ports(2 * MEMBERS)?;
        let (clients, peers) = ports.split_at(MEMBERS);
        let group: Vec<String> =
            peers.iter().enumerate().map(|(number, port)| format!("m{number}=https://127.0.0.1:{port}")).collect();
        let mut members = Vec::new();
        for number in 0..MEMBERS {
            let (client, peer) =
                (format!("https://127.0.0.1:{}", clients[number]), format!("https://127.0.0.1:{}", peers[number]));
            let log = std::fs::File::create(home.join(format!("m{number}.log")))?;
            let mut command = Command::new("etcd");
            command.env_clear().args(["--name", &format!("m{number}"), "--logger", "zap", "--log-level", "warn"]);
            command.arg("--data-dir").arg(home.join(format!("m{number}")));
            command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
            command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            command.args(["--initial-cluster", &group.join(","), "--initial-cluster-state", "new"]);
            for prefix in ["--", "--peer-"] {
                command.arg(format!("{prefix}cert-file")).arg(&tls.certificate);
                command.arg(format!("{prefix}key-file")).arg(&tls.key);
                command.arg(format!("{prefix}trusted-ca-file")).arg(&tls.authority);
                command.arg(format!("{prefix}client-cert-auth"));
            }
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
            members.push(Member(command.spawn().context("etcd can't be started")?));
        }
        let endpoints = clients.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        Ok(Self { members, endpoints, client: tls.client })
    }

    /// Waits until the group takes writes, and finds out who leads.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        let leader = eventually_async("etcd's leader", READY_WITHIN, async || {
            for (number, endpoint) in self.endpoints.iter().enumerate() {
                match self.leads(endpoint).await {
                    Ok(true) => return Ok(number),
                    Ok(false) => {}
                    Err(error) => return Err(format!("{error:#}")),
                }
            }
            Err("no member leads".to_owned())
        })
        .await?;
        self.endpoints.swap(0, leader);
        self.writer(0).await?.command().await
    }

    async fn leads(&self, endpoint: &str) -> Result<bool> {
        let status = wire::status(self.connect(endpoint).await?).await?;
        Ok(status.leader != 0 && status.header.is_some_and(|header| header.member_id == status.leader))
    }

    async fn connect(&self, endpoint: &str) -> Result<Channel> {
        dial(endpoint.to_owned(), self.client.clone()).await
    }
}

async fn dial(endpoint: String, client: Arc<ClientConfig>) -> Result<Channel> {
    Ok(connect(&endpoint, ServerName::try_from("127.0.0.1")?, client).await?)
}

/// Ports that nobody listens on now.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<std::io::Result<_>>()?;
    held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

impl System for Etcd {
    type Writer = Put;
    type Watcher = Watch;

    async fn writer(&self, number: usize) -> Result<Put> {
        let channel = self.connect(&self.endpoints[number % self.endpoints.len()]).await?;
        Ok(Put { channel, next: Arc::new(AtomicU64::new((number as u64) << 32)) })
    }

    fn attach(&self, number: usize) -> Result<impl Future<Output = Result<Watch>> + Send + 'static> {
        let endpoint = self.endpoints[number % self.endpoints.len()].clone();
        let client = self.client.clone();
        Ok(async move { Watch::open(dial(endpoint, client).await?, number).await })
    }

    fn processes(&self) -> Vec<u32> {
        self.members.iter().map(|member| member.0.id()).collect()
    }
}

/// Puts keys.
#[derive(Clone)]
pub(crate) struct Put {
    channel: Channel,
    next: Arc<AtomicU64>,
}

fn watched(number: usize) -> Vec<u8> {
    format!("/nodes/{number:08}").into_bytes()
}

impl Writer for Put {
    async fn command(&self) -> Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let request =
            PutRequest { key: format!("/tokens/{number:016x}").into_bytes(), value: vec![b'x'; COMMAND_BYTES] };
        wire::put(self.channel.clone(), request).await
    }

    async fn change(&self, watcher: usize, round: usize) -> Result<()> {
        let request = PutRequest { key: watched(watcher), value: change_text(round).into_bytes() };
        wire::put(self.channel.clone(), request).await
    }

    async fn restore(&self, _: usize) -> Result<()> {
        Ok(())
    }
}

/// Watches one key.
pub(crate) struct Watch {
    // Dropping it would end the stream.
    _asks: mpsc::Sender<WatchRequest>,
    heard: Streaming<WatchResponse>,
}

impl Watch {
    async fn open(channel: Channel, number: usize) -> Result<Self> {
        let (asks, asked) = mpsc::channel(1);
        let create = WatchCreateRequest { key: watched(number) };
        asks.send(WatchRequest { request: Some(watch_request::Request::Create(create)) }).await?;
        let mut heard = wire::watch(channel, ReceiverStream::new(asked)).await?;
        let first = heard.message().await?.context("the watch ended")?;
        ensure!(first.created, "no watch was created: {first:?}");
        Ok(Self { _asks: asks, heard })
    }
}

impl Watcher for Watch {
    async fn changed(&mut self, round: usize) -> Result<()> {
        let mark = round_mark(round);
        while let Some(response) = self.heard.message().await? {
            if response.canceled {
                bail!("the watch was cancelled");
            }
            let is_it = |value: &[u8]| value.starts_with(mark.as_bytes());
            if response.events.iter().filter_map(|event| event.kv.as_ref()).any(|kv| is_it(&kv.value)) {
                return Ok(());
            }
        }
        bail!("the watch ended")
    }
}
