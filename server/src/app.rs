//! The composition root: the only module that sees all others.

mod certificate;
mod ends;
mod first_context;
mod follow;
mod group;
mod home;
mod leading;
mod listeners;
mod observe;
mod register;
mod reseal;
mod roster;
mod unlock;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use muster_state::{Bytes, FleetId, record::Fleet};
use muster_trust::{Role, SpiffeId};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    agreement,
    api::{self, voters::Voters},
    clock::now_ms,
    conductor,
    config::Config,
    consensus,
    discovery::WebCertificate,
    kubernetes, membership,
    operations::{
        Unsealed, found_fleet,
        keyring::Keyring,
        urls::{DiscoveryPlace, Places, Urls},
    },
    sessions::Sessions,
    web::{self, Health},
};
use certificate::Own;
use ends::Ends;
use group::Group;
use observe::Stage;
use unlock::Unlocked;

pub use first_context::FirstContext;

/// A fresh log elects its one voter within a second; replaying a long one takes longer. Among several servers, how often
/// waiting for the others is said aloud.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long streams may take to end before the process does.
const GRACE: Duration = Duration::from_secs(5);

/// Sockets, bound before anything else so that a taken port fails in the first second.
pub struct Sockets {
    enrolment: TcpListener,
    nodes: TcpListener,
    operators: TcpListener,
    peers: TcpListener,
    http: TcpListener,
    discovery: Option<TcpListener>,
}

impl Sockets {
    /// Binds every listener of the configuration. Ports that were 0 are then known.
    pub async fn bind(config: &Config) -> anyhow::Result<Self> {
        let ports = config.server.ports;
        let bind = async |what: &str, port: u16| {
            let address = config.server.socket(port);
            TcpListener::bind(address).await.with_context(|| format!("{what} listener: {address} can't be bound"))
        };
        Ok(Self {
            enrolment: bind("enrolment", ports.enrolment).await?,
            nodes: bind("node", ports.nodes).await?,
            operators: bind("operator", ports.operators).await?,
            peers: bind("peer", ports.peers).await?,
            http: bind("HTTP", ports.http).await?,
            discovery: match config.discovery.port {
                Some(port) => Some(bind("discovery", port).await?),
                None => None,
            },
        })
    }

    /// The configuration with the ports that were really bound.
    pub fn settle(&self, mut config: Config) -> anyhow::Result<Config> {
        let ports = &mut config.server.ports;
        ports.enrolment = self.enrolment.local_addr()?.port();
        ports.nodes = self.nodes.local_addr()?.port();
        ports.operators = self.operators.local_addr()?.port();
        ports.peers = self.peers.local_addr()?.port();
        ports.http = self.http.local_addr()?.port();
        if let Some(socket) = &self.discovery {
            config.discovery.port = Some(socket.local_addr()?.port());
        }
        Ok(config)
    }
}

/// Who wants to know how a server comes up.
pub trait Progress: Send + Sync {
    /// A key file was made by a first start.
    fn key_made(&self, path: &std::path::Path);
    /// The server is sealed, and why.
    fn sealed(&self, why: &str);
    /// The server serves. A voter can give an operator a first context.
    fn serving(&self, server: &Unsealed, context: Option<&FirstContext>);
}

/// Runs a server until shutdown, stage by stage: own identity, log, fleet, peers, listeners, and what only runs while it serves.
///
/// # Errors
/// A data directory that can't be used, a port that is taken, a log that can't be trusted, a fleet that does not take this
/// server (any more).
pub async fn serve(
    config: Config,
    sockets: Sockets,
    progress: &dyn Progress,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let config = sockets.settle(config)?;
    let web_certificate = web_certificate(&config)?;
    let start = home::look(&config)?;
    let metrics = web::metrics::recorder()?;
    let (reporter, health) = Health::starting();
    let Sockets { enrolment, nodes, operators, peers, http, discovery } = sockets;
    let (stage, sessions, tasks) = (Stage::starting(), Sessions::default(), TaskTracker::new());
    tasks.spawn(web::serve(http, health, metrics, shutdown.clone()));
    tasks.spawn(observe::run(stage.clone(), sessions.clone(), reporter, shutdown.clone()));
    let id = start.server();
    let Some(unlocked) = unlock::wait(&config, start, progress, &stage, &shutdown).await? else {
        return Ok(());
    };
    stage.unsealed();
    let group = group::open(&config, id).await?;
    stage.opened(&group.ledger);
    let (own, server) = own_place(&config, &group, id, unlocked, sessions, &shutdown).await?;
    let running = Running { config, id, group, server, own, ends: Ends::new(), tasks, shutdown };
    let machines = listeners::Machines { enrolment, nodes };
    let discovery = discovery.map(|socket| listeners::Web { socket, certificate: web_certificate });
    let sockets = listeners::Sockets { machines, operators, discovery };
    let outcome = tokio::select! {
        outcome = running.run(peers, sockets, progress) => outcome,
        why = running.ends.reason() => Err(why),
    };
    running.stop().await;
    outcome
}

/// Which server of which fleet this is. The first start of all founds the fleet; a member remembers, whether or not anybody
/// else is there.
async fn own_place(
    config: &Config,
    group: &Group,
    id: u64,
    unlocked: Unlocked,
    sessions: Sessions,
    shutdown: &CancellationToken,
) -> anyhow::Result<(Own, Unsealed)> {
    let Unlocked { identity, private } = unlocked;
    let keyring = Keyring::new(id, Arc::new(private.own));
    let own = match identity.membership() {
        Some(_) => Own::of_member(config, identity, private.identity)?,
        None => {
            let fleet = found(group, config, &keyring, id).await?;
            keyring.refresh(&fleet)?;
            let keys = keyring.keys().context("the fleet's first data key can't be opened")?;
            Own::of_founder(config, identity, private.identity, &fleet, &keys.pki, id)?
        }
    };
    let membership = own.membership()?;
    let server = Unsealed {
        spiffe: SpiffeId::new(&membership.fleet, Role::Server, &id.to_string())?.to_string(),
        anchors: Arc::new(membership.anchors()?),
        fleet: FleetId(membership.fleet),
        id,
        start: group.consensus.generation(),
        ledger: group.ledger.clone(),
        keyring,
        sessions,
        places: Arc::new(places(config)),
        stopping: shutdown.clone(),
    };
    Ok((own, server))
}

async fn found(group: &Group, config: &Config, keyring: &Keyring, id: u64) -> anyhow::Result<Fleet> {
    group.found(config).await?;
    group.consensus.wait_ready(READY_WITHIN).await.context("the log did not become ready")?;
    let ledger = &group.ledger;
    if ledger.read(|state| state.fleet.is_none()) {
        ledger.propose(found_fleet::make(&keyring.own().seal, id, now_ms())?).await?;
    }
    ledger.read(|state| state.fleet.clone()).context("the fleet was not founded")
}

fn places(config: &Config) -> Places {
    let written = |authorities: &[String]| authorities.iter().map(|authority| format!("https://{authority}")).collect();
    let server = &config.server;
    let (enrolment, nodes, operators) = (server.enrolment_urls(), server.node_urls(), server.operator_urls());
    Places {
        own: Urls { enrolment, nodes, operators },
        written: Urls {
            enrolment: written(&server.enrolment_urls),
            nodes: written(&server.node_urls),
            operators: written(&server.operator_urls),
        },
        discovery: config.discovery.authority(server).map(|authority| DiscoveryPlace {
            url: format!("https://{authority}"),
            of_fleet: config.discovery.files().is_none(),
        }),
    }
}

/// The operator's own certificate for discovery. One that can't be used ends the start: it would be noticed too late.
fn web_certificate(config: &Config) -> anyhow::Result<Option<Arc<WebCertificate>>> {
    let files = config.discovery.files();
    let read = files.map(|(certificate, key)| WebCertificate::read(certificate, key).context("[discovery]"));
    Ok(read.transpose()?.map(Arc::new))
}

/// A server that knows its place.
struct Running {
    config: Config,
    id: u64,
    group: Group,
    server: Unsealed,
    own: Own,
    ends: Ends,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Running {
    /// Meets the other servers, waits until the state is up to date, and serves until shutdown.
    async fn run(
        &self,
        peers: TcpListener,
        sockets: listeners::Sockets,
        progress: &dyn Progress,
    ) -> anyhow::Result<()> {
        // What its own disk knows: a voter's certificate may have run out while it was down, and it needs nobody to mend that.
        follow::take_keys(&self.server, &self.own);
        let listeners::Sockets { machines, operators, discovery } = sockets;
        let voters = Voters { client: self.group.client.clone(), ledger: self.group.ledger.clone() };
        let listen = listeners::Listen { server: &self.server, identity: self.own.cell(), shutdown: &self.shutdown };
        // First, so that operators can ask whom this server waits for; the rest of what they want waits until it serves.
        let serves = CancellationToken::new();
        self.tasks.spawn(listen.to_operators(&voters, operators, &serves)?);
        let ready = async {
            self.group.meet(self, peers).await?;
            self.until_ready().await
        };
        tokio::select! {
            () = self.shutdown.cancelled() => return Ok(()),
            ready = ready => ready?,
        }
        follow::take_keys(&self.server, &self.own);
        let listen = listeners::Listen { server: &self.server, identity: self.own.cell(), shutdown: &self.shutdown };
        self.tasks.spawn(listen.to_machines(&voters, machines)?);
        if let Some(web) = discovery {
            self.tasks.spawn(listen.to_kubeadm(web)?);
        }
        serves.cancel();
        self.begin_work();
        progress.serving(&self.server, first_context::make(&self.server)?.as_ref());
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        self.shutdown.cancelled().await;
        Ok(())
    }

    /// Until there is a leader, and the state here holds all that it held when this server stopped. Without a majority that
    /// takes as long as it takes; health says so.
    async fn until_ready(&self) -> anyhow::Result<()> {
        loop {
            match self.group.consensus.wait_ready(READY_WITHIN).await {
                Ok(()) => break,
                Err(consensus::ReadError::TimedOut | consensus::ReadError::NotLeader { .. }) => {
                    tracing::warn!("no leader yet; waiting for a majority of the servers")
                }
                Err(err) => return Err(err.into()),
            }
        }
        let mut watch = self.group.ledger.watch();
        while self.group.ledger.read(|state| state.fleet.is_none()) {
            watch.any().await?;
        }
        Ok(())
    }

    /// What runs while the server serves.
    fn begin_work(&self) {
        let Self { config, id, group, server, own, ends, tasks, shutdown } = self;
        let sealing_key = Bytes(server.keyring.own().sealing.public().as_bytes().to_vec());
        let start = register::start(config, own, *id, sealing_key, group.consensus.generation());
        tasks.spawn(register::run(group.ledger.clone(), start, ends.clone(), shutdown.clone()));
        tasks.spawn(follow::run(server.clone(), own.clone(), *id, ends.clone(), shutdown.clone()));
        tasks.spawn(own.clone().renew(server.clone(), shutdown.clone()));
        tasks.spawn(reseal::run(server.clone(), shutdown.clone()));
        tasks.spawn(conductor::run(server.clone(), shutdown.clone()));
        tasks.spawn(kubernetes::run(server.clone(), shutdown.clone()));
        let promote_after = config.server.promote_after.duration();
        tasks.spawn(membership::run(server.clone(), promote_after, shutdown.clone()));
        tasks.spawn(agreement::run(group.ledger.clone(), *id, shutdown.clone()));
    }

    /// Ends all tasks, politely first, then the log.
    async fn stop(self) {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        self.shutdown.cancel();
        self.tasks.close();
        if tokio::time::timeout(GRACE, self.tasks.wait()).await.is_err() {
            tracing::warn!("streams did not end in time; stopping anyway");
        }
        self.group.consensus.shutdown().await;
    }
}

/// Everything the binary is built of speaks TLS with one provider; said once, first thing.
pub fn install_crypto_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Limits of the listeners, named with their reasons where they are used.
pub use api::listener::Limits;
