//! The certificate that this server shows: remembered with its identity, and issued anew by a voter for itself.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use muster_state::{Bytes, Digest, record::Fleet};
use muster_trust::IdentityCell;
use rustls_pki_types::CertificateDer;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::transport::Uri;

use crate::{
    clock::now_ms,
    config::Config,
    identity::{
        Identity, KnownServer, Membership, Standing,
        keys::IdentityKey,
        marker::{self, Marker},
    },
    joining::conversation::{Applicant, Places},
    operations::Unsealed,
    pki::{FleetPki, LeafTerms},
};

/// How often a server looks whether its own certificate wants renewing: far more often than needed, at no cost.
const RENEW_PAUSE: Duration = Duration::from_secs(600);
/// Another server answers a member that asks for its certificate within a second.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// This server's identity while it runs: remembered on disk, shown to whoever connects.
#[derive(Clone)]
pub(super) struct Own(Arc<Inner>);

struct Inner {
    config: Config,
    // Held while the file is written, which nobody waits for in a hurry.
    identity: Mutex<Identity>,
    key: IdentityKey,
    cell: Arc<IdentityCell>,
}

impl Own {
    /// A member, with the certificate it remembers.
    ///
    /// # Errors
    /// If it is no member, or its certificate does not belong to its key.
    pub(super) fn of_member(config: &Config, identity: Identity, key: IdentityKey) -> anyhow::Result<Self> {
        let membership = identity.membership().context("this server is not a member of a fleet yet")?;
        let cell = IdentityCell::new(key.with_chain(membership.chain())).context("this server's certificate")?;
        let marker = Marker { server: membership.server, fleet: membership.fleet.clone() };
        let path = marker::path(config);
        if let Err(err) = marker.write(&path) {
            // It only guards against a mistake; a file system that can't hold it is no reason not to serve.
            tracing::warn!(path = %path.display(), err = %err, "the marker of this host was not written");
        }
        let identity = Mutex::new(identity);
        Ok(Self(Arc::new(Inner { config: config.clone(), identity, key, cell: Arc::new(cell) })))
    }

    /// The founder of a fleet, which becomes its first member with a certificate of its own making.
    ///
    /// # Errors
    /// If it can't be signed or remembered.
    pub(super) fn of_founder(
        config: &Config,
        mut identity: Identity,
        key: IdentityKey,
        fleet: &Fleet,
        pki: &FleetPki,
        server: u64,
    ) -> anyhow::Result<Self> {
        let chain = certify(config, &key, pki, server)?;
        identity.remember(Standing::Member(Membership {
            server,
            fleet: fleet.id.to_string(),
            root: fleet.root.clone(),
            intermediates: fleet.intermediates.clone(),
            chain: chain.iter().map(|der| Bytes(der.to_vec())).collect(),
            servers: BTreeMap::new(),
        }))?;
        Self::of_member(config, identity, key)
    }

    /// What listeners and calls show.
    pub(super) fn cell(&self) -> Arc<IdentityCell> {
        Arc::clone(&self.0.cell)
    }

    /// Issues a new certificate for the same key, shows it from now on and remembers it.
    ///
    /// # Errors
    /// If it can't be signed or remembered; the old one is shown on.
    pub(super) fn reissue(&self, pki: &FleetPki) -> anyhow::Result<()> {
        let chain = certify(&self.0.config, &self.0.key, pki, self.membership()?.server)?;
        self.adopt(chain.iter().map(|der| Bytes(der.to_vec())).collect())
    }

    /// SHA-256 of the identity key's SPKI.
    pub(super) fn fingerprint(&self) -> Digest {
        self.0.key.fingerprint()
    }

    /// Writes down where the other servers are, if that has changed.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(super) fn remember(&self, servers: BTreeMap<u64, KnownServer>) -> anyhow::Result<()> {
        self.change(|membership| membership.servers = servers)
    }

    /// Renews at two thirds of the certificate's life, until shutdown.
    pub(super) async fn renew(self, server: Unsealed, shutdown: CancellationToken) {
        loop {
            if now_ms() >= self.0.cell.peer().renew_at_ms() {
                let renewed = match server.keys() {
                    Ok(keys) => self.reissue(&keys.pki),
                    Err(_) => self.ask_for_another(&server).await,
                };
                match renewed {
                    Ok(()) => tracing::info!("the server's certificate was renewed"),
                    Err(err) => {
                        tracing::error!(err = %format!("{err:#}"), "the server's certificate could not be renewed");
                    }
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(RENEW_PAUSE) => {}
            }
        }
    }

    /// A server that can't sign asks the others, in the conversation with which it joined: it works with a certificate that has
    /// run out, too.
    async fn ask_for_another(&self, server: &Unsealed) -> anyhow::Result<()> {
        let applicant = Applicant {
            pin: server.anchors.pin()?,
            key: &self.0.key,
            sealing: server.keyring.own().sealing.public(),
            token: None,
            places: Places {
                address: self.0.config.server.peer_address(),
                enrolment: self.0.config.server.enrolment_urls(),
                nodes: self.0.config.server.node_urls(),
                operators: self.0.config.server.operator_urls(),
            },
        };
        let known = self.membership()?.servers;
        let mut last = anyhow!("no other server is known");
        for url in known.values().flat_map(|server| &server.enrolment_urls) {
            let url: Uri = url.parse().with_context(|| format!("{url} of another server"))?;
            match timeout(ANSWER_WITHIN, applicant.ask(&url, &mut |_| {})).await {
                Ok(Ok(renewed)) => return self.adopt(renewed.chain),
                Ok(Err(err)) => last = err.into(),
                Err(_) => last = anyhow!("{url} did not answer in time"),
            }
        }
        Err(last)
    }

    fn adopt(&self, chain: Vec<Bytes>) -> anyhow::Result<()> {
        self.change(|membership| membership.chain = chain)?;
        Ok(self.0.cell.replace(self.0.key.with_chain(self.membership()?.chain()))?)
    }

    /// Which server of which fleet this is.
    ///
    /// # Errors
    /// If it is none, which [`Own::of_member`] rules out.
    pub(super) fn membership(&self) -> anyhow::Result<Membership> {
        let identity = self.0.identity.lock().unwrap_or_else(PoisonError::into_inner);
        identity.membership().cloned().context("this server is no member of a fleet")
    }

    /// Changes what is remembered, if it is another thing then.
    fn change(&self, change: impl FnOnce(&mut Membership)) -> anyhow::Result<()> {
        let mut identity = self.0.identity.lock().unwrap_or_else(PoisonError::into_inner);
        let before = identity.membership().context("this server is no member of a fleet")?;
        let mut after = before.clone();
        change(&mut after);
        if after != *before {
            identity.remember(Standing::Member(after))?;
        }
        Ok(())
    }
}

fn certify(
    config: &Config,
    key: &IdentityKey,
    pki: &FleetPki,
    server: u64,
) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let terms = LeafTerms::server(&server.to_string(), names(config));
    Ok(pki.certify(&key.request()?, &terms, now_ms())?.chain)
}

/// What this server is called: by all, and where discovery files are served with this certificate, by machines without an agent.
fn names(config: &Config) -> Vec<String> {
    let mut names = vec![config.server.advertised_host()];
    let discovery = config.discovery.authority(&config.server).filter(|_| config.discovery.files().is_none());
    let host = discovery.as_deref().and_then(|authority| authority.rsplit_once(':')).map(|(host, _)| host);
    if let Some(host) = host.map(|host| host.trim_matches(['[', ']']).to_owned()).filter(|host| !names.contains(host)) {
        names.push(host);
    }
    names
}
