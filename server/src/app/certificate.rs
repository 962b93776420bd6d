//! The certificate that this server shows: remembered with its identity, and issued anew by a voter for itself.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use muster_state::{Bytes, record::Fleet};
use muster_trust::IdentityCell;
use rustls_pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::now_ms,
    config::Config,
    identity::{
        Identity, Membership, Standing,
        keys::IdentityKey,
        marker::{self, Marker},
    },
    operations::keyring::Keyring,
    pki::{FleetPki, LeafTerms},
};

/// How often a server looks whether its own certificate wants renewing: far more often than needed, at no cost.
const RENEW_PAUSE: Duration = Duration::from_secs(600);

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
        let mut identity = self.0.identity.lock().unwrap_or_else(PoisonError::into_inner);
        let mut membership = identity.membership().context("no member")?.clone();
        let chain = certify(&self.0.config, &self.0.key, pki, membership.server)?;
        membership.chain = chain.iter().map(|der| Bytes(der.to_vec())).collect();
        identity.remember(Standing::Member(membership))?;
        Ok(self.0.cell.replace(self.0.key.with_chain(chain))?)
    }

    /// Renews at two thirds of the certificate's life, until shutdown.
    pub(super) async fn renew(self, keyring: Keyring, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(RENEW_PAUSE) => {}
            }
            if now_ms() < self.0.cell.peer().renew_at_ms() {
                continue;
            }
            let Some(keys) = keyring.keys() else { continue };
            match self.reissue(&keys.pki) {
                Ok(()) => tracing::info!("the server's certificate was renewed"),
                Err(err) => tracing::error!(err = %format!("{err:#}"), "the server's certificate could not be renewed"),
            }
        }
    }
}

fn certify(
    config: &Config,
    key: &IdentityKey,
    pki: &FleetPki,
    server: u64,
) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let terms = LeafTerms::server(&server.to_string(), vec![config.server.advertised_host()]);
    Ok(pki.certify(&key.request()?, &terms, now_ms())?.chain)
}
