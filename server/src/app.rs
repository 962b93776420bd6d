//! The composition root: the only module that sees all others.

mod certificate;
mod first_context;
mod home;
mod listeners;
mod observe;
mod roster;
mod unlock;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use muster_trust::{Role, SpiffeId};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    api,
    clock::now_ms,
    conductor,
    config::Config,
    consensus::{self, Consensus},
    ledger::Ledger,
    operations::{
        Unsealed, Urls, found_fleet,
        keyring::{self, Keyring},
    },
    sessions::Sessions,
    web::{self, Health},
};
use certificate::Own;
use observe::Stage;
use unlock::Unlocked;

pub use first_context::FirstContext;

/// A fresh log elects its one voter within a second; replaying a long one takes longer.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long streams may take to end before the process does.
const GRACE: Duration = Duration::from_secs(5);

/// Sockets, bound before anything else so that a taken port fails in the first second.
pub struct Sockets {
    enrolment: TcpListener,
    nodes: TcpListener,
    operators: TcpListener,
    http: TcpListener,
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
            http: bind("HTTP", ports.http).await?,
        })
    }

    /// The configuration with the ports that were really bound.
    pub fn settle(&self, mut config: Config) -> anyhow::Result<Config> {
        let ports = &mut config.server.ports;
        ports.enrolment = self.enrolment.local_addr()?.port();
        ports.nodes = self.nodes.local_addr()?.port();
        ports.operators = self.operators.local_addr()?.port();
        ports.http = self.http.local_addr()?.port();
        Ok(config)
    }
}

/// Who wants to know how a server comes up.
pub trait Progress: Send + Sync {
    /// A key file was made by a first start.
    fn key_made(&self, path: &std::path::Path);
    /// The server is sealed, and why.
    fn sealed(&self, why: &str);
    /// The server serves.
    fn serving(&self, server: &Unsealed, context: &FirstContext);
}

/// Runs a server until shutdown, stage by stage: own identity, log, fleet, listeners, and what only runs while it serves.
///
/// # Errors
/// A data directory that can't be used, a port that is taken, a log that can't be trusted.
pub async fn serve(
    config: Config,
    sockets: Sockets,
    progress: &dyn Progress,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let config = sockets.settle(config)?;
    let start = home::look(&config)?;
    let server = start.server();
    let metrics = web::metrics::recorder()?;
    let (reporter, health) = Health::starting();
    let Sockets { enrolment, nodes, operators, http } = sockets;
    let http = tokio::spawn(web::serve(http, health, metrics, shutdown.clone()));
    let (stage, sessions) = (Stage::starting(), Sessions::default());
    let observer = tokio::spawn(observe::run(stage.clone(), sessions.clone(), reporter, shutdown.clone()));
    let Some(unlocked) = unlock::wait(&config, start, progress, &stage, &shutdown).await? else {
        return Ok(());
    };
    stage.unsealed();
    let consensus = Consensus::open(consensus::Options::new(&config.server.data_dir, server)).await?;
    consensus.initialize(consensus::Peer { address: config.server.peer_address() }).await?;
    consensus.wait_ready(READY_WITHIN).await.context("the log did not become ready")?;
    let ledger = Ledger::new(consensus.clone());
    stage.opened(&ledger);
    let (own, server) = join_fleet(&config, server, unlocked, ledger, sessions, &shutdown).await?;
    let context = first_context::make(&config, &server)?;
    let sockets = listeners::Sockets { enrolment, nodes, operators };
    let serving = listeners::serve(&server, own.cell(), sockets, &shutdown)?;
    let conductor = tokio::spawn(conductor::run(server.clone(), shutdown.clone()));
    let renewal = tokio::spawn(own.renew(server.keyring.clone(), shutdown.clone()));
    progress.serving(&server, &context);
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    shutdown.cancelled().await;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    let ended = async {
        let _ = tokio::join!(serving, conductor, renewal, observer, http);
    };
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        tracing::warn!("streams did not end in time; stopping anyway");
    }
    consensus.shutdown().await;
    Ok(())
}

/// Founds the fleet if nobody did, opens its keys, and gives this server its certificate.
async fn join_fleet(
    config: &Config,
    id: u64,
    unlocked: Unlocked,
    ledger: Ledger,
    sessions: Sessions,
    shutdown: &CancellationToken,
) -> anyhow::Result<(Own, Unsealed)> {
    let Unlocked { identity, private } = unlocked;
    if ledger.read(|state| state.fleet.is_none()) {
        ledger.propose(found_fleet::make(&private.own.seal, id, now_ms())?).await?;
    }
    let fleet = ledger.read(|state| state.fleet.clone()).context("the fleet was not founded")?;
    let keyring = Keyring::new(id, Arc::new(private.own));
    anyhow::ensure!(keyring.refresh(&fleet)?, "no data key is wrapped for this server");
    let keys = keyring.keys().context("no data key is open")?;
    let own = match identity.membership() {
        None => Own::of_founder(config, identity, private.identity, &fleet, &keys.pki, id)?,
        Some(_) => Own::of_member(config, identity, private.identity)?,
    };
    // The settings may name other hosts than those of the certificate that is remembered.
    own.reissue(&keys.pki)?;
    let urls = Urls {
        enrolment: config.server.enrolment_urls(),
        nodes: config.server.node_urls(),
        operators: config.server.operator_urls(),
    };
    let server = Unsealed {
        spiffe: SpiffeId::new(fleet.id.as_str(), Role::Server, &id.to_string())?.to_string(),
        anchors: Arc::new(keyring::anchors(&fleet)?),
        fleet: fleet.id,
        ledger,
        keyring,
        sessions,
        urls: Arc::new(urls),
        stopping: shutdown.clone(),
    };
    Ok((own, server))
}

/// Everything the binary is built of speaks TLS with one provider; said once, first thing.
pub fn install_crypto_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Limits of the listeners, named with their reasons where they are used.
pub use api::listener::Limits;
