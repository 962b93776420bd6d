//! The composition root: the only module that sees all others.

mod first_context;
mod listeners;
mod observe;
mod seal_key;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use muster_state::record::Fleet;
use muster_trust::{IdentityCell, Role, sealing::SealingPrivateKey};
use tokio::{net::TcpListener, sync::watch};
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
    pki::LeafTerms,
    seal::{OwnKeys, SealKey},
    sessions::Sessions,
    web::{self, Health},
};

pub use first_context::FirstContext;

/// A fresh log elects its one voter within a second; replaying a long one takes longer.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How often a sealed server looks for its key again.
const UNSEAL_PAUSE: Duration = Duration::from_secs(2);
/// How often a server looks whether its own certificate wants renewing: far more often than needed, at no cost.
const RENEW_PAUSE: Duration = Duration::from_secs(600);
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

/// Runs a server until shutdown.
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
    let metrics = web::metrics::recorder()?;
    let (reporter, health) = Health::starting();
    let Sockets { enrolment, nodes, operators, http } = sockets;
    let http = tokio::spawn(web::serve(http, health, metrics, shutdown.clone()));
    let id = config.server.id.get();
    let mut options = consensus::Options::new(&config.server.data_dir, id);
    options.engine = config.storage.backend;
    let consensus = Consensus::open(options).await?;
    consensus.initialize(consensus::Peer { address: config.server.advertised_host() }).await?;
    consensus.wait_ready(READY_WITHIN).await.context("the log did not become ready")?;
    let ledger = Ledger::new(consensus.clone());
    let sessions = Sessions::default();
    let (seal, sealed) = watch::channel(Some("looking for the seal key".to_owned()));
    let observed = observe::Observed { ledger: ledger.clone(), sessions: sessions.clone(), sealed };
    let observer = tokio::spawn(observe::run(observed, reporter, shutdown.clone()));
    let Some(server) = unseal(&config, &ledger, sessions, progress, &seal, &shutdown).await? else {
        consensus.shutdown().await;
        return Ok(());
    };
    let context = first_context::make(&config, &server)?;
    let identity = server_identity(&config, &server)?;
    let sockets = listeners::Sockets { enrolment, nodes, operators };
    let serving = listeners::serve(&server, identity.clone(), sockets, &shutdown)?;
    let conductor = tokio::spawn(conductor::run(server.clone(), shutdown.clone()));
    let renewal = tokio::spawn(renew_identity(config.clone(), server.clone(), identity, shutdown.clone()));
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

/// Finds the seal key and opens the fleet, founding it on a first start. A missing or wrong key leaves the server
/// sealed: it says so, changes nothing, and looks again.
async fn unseal(
    config: &Config,
    ledger: &Ledger,
    sessions: Sessions,
    progress: &dyn Progress,
    sealed: &watch::Sender<Option<String>>,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<Unsealed>> {
    let id = config.server.id.get();
    let mut told = String::new();
    loop {
        let founded = ledger.read(|state| state.fleet.is_some());
        let opened = match seal_key::find(config, founded, progress) {
            Ok(key) => open(ledger, key, id).await,
            Err(err) => Err(err),
        };
        match opened {
            Ok((fleet, keyring)) => {
                sealed.send_replace(None);
                let spiffe = muster_trust::SpiffeId::new(fleet.id.as_str(), Role::Server, &id.to_string())?.to_string();
                let urls = Urls {
                    enrolment: config.server.enrolment_urls(),
                    nodes: config.server.node_urls(),
                    operators: config.server.operator_urls(),
                };
                return Ok(Some(Unsealed {
                    anchors: Arc::new(keyring::anchors(&fleet)?),
                    fleet: fleet.id,
                    spiffe,
                    ledger: ledger.clone(),
                    keyring,
                    sessions,
                    urls: Arc::new(urls),
                    stopping: shutdown.clone(),
                }));
            }
            Err(err) => {
                let why = format!("{err:#}");
                sealed.send_replace(Some(why.clone()));
                if why != told {
                    tracing::error!(why, "this server is sealed: it serves nobody until its seal key is there");
                    progress.sealed(&why);
                    told = why;
                }
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            () = tokio::time::sleep(UNSEAL_PAUSE) => {}
        }
    }
}

async fn open(ledger: &Ledger, key: SealKey, id: u64) -> anyhow::Result<(Fleet, Keyring)> {
    if ledger.read(|state| state.fleet.is_none()) {
        ledger.propose(found_fleet::make(&key, id, now_ms())?).await?;
    }
    let fleet = ledger.read(|state| state.fleet.clone()).context("the fleet was not founded")?;
    let own = OwnKeys { seal: key, sealing: SealingPrivateKey::generate()? };
    let keyring = Keyring::new(id, Arc::new(own));
    anyhow::ensure!(keyring.refresh(&fleet)?, "no data key is wrapped for this server");
    Ok((fleet, keyring))
}

/// The server's own certificate. Its key is made anew at each start and never lies on a disk.
fn server_identity(config: &Config, server: &Unsealed) -> anyhow::Result<Arc<IdentityCell>> {
    let identity = new_identity(config, server)?;
    Ok(Arc::new(IdentityCell::new(identity)?))
}

fn new_identity(config: &Config, server: &Unsealed) -> anyhow::Result<muster_trust::TlsIdentity> {
    let terms = LeafTerms::server(&config.server.id.to_string(), vec![config.server.advertised_host()]);
    Ok(server.keys()?.pki.issue(&terms, now_ms())?.to_tls())
}

async fn renew_identity(config: Config, server: Unsealed, cell: Arc<IdentityCell>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(RENEW_PAUSE) => {}
        }
        let peer = cell.peer();
        let two_thirds = peer.not_before_ms + (peer.not_after_ms - peer.not_before_ms) / 3 * 2;
        if now_ms() < two_thirds {
            continue;
        }
        let renewed = new_identity(&config, &server).and_then(|identity| Ok(cell.replace(identity)?));
        match renewed {
            Ok(()) => tracing::info!("the server's certificate was renewed"),
            Err(err) => tracing::error!(err = %format!("{err:#}"), "the server's certificate could not be renewed"),
        }
    }
}

/// Everything the binary is built of speaks TLS with one provider; said once, first thing.
pub fn install_crypto_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Limits of the listeners, named with their reasons where they are used.
pub use api::listener::Limits;
