//! Renews the certificate with a new key, which is on the disk before anybody hears of it.

use muster_proto::join::v1::RenewRequest;
use muster_proto::join::v1::join_service_client::JoinServiceClient;
use muster_trust::IdentityCell;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tonic::transport::Channel;
use tracing::Instrument;

use crate::clock::unix_ms;
use crate::identity::{Identity, KeyError, Keyring, RENEW_AGAIN, renew_at_ms};
use crate::session::Event;
use crate::session::backoff::random_share;
use crate::session::link::Link;

/// When to renew.
pub(super) struct Schedule {
    at_ms: u64,
    expires_ms: u64,
    running: bool,
    not_before: Option<Instant>,
}

impl Schedule {
    /// For this certificate.
    pub(super) fn of(identity: &Identity) -> Result<Self, KeyError> {
        let validity = identity.validity()?;
        Ok(Self {
            at_ms: renew_at_ms(validity, random_share()),
            expires_ms: validity.1,
            running: false,
            not_before: None,
        })
    }

    pub(super) fn is_due(&self) -> bool {
        let paused = self.not_before.is_some_and(|moment| Instant::now() < moment);
        !self.running && !paused && unix_ms() >= self.at_ms
    }

    pub(super) fn has_expired(&self) -> bool {
        unix_ms() > self.expires_ms
    }

    pub(super) const fn begun(&mut self) {
        self.running = true;
    }

    pub(super) fn failed(&mut self) {
        self.running = false;
        self.not_before = Some(Instant::now() + RENEW_AGAIN);
    }
}

/// Begins a renewal over the connection of `link`; its result comes as an event.
pub(super) fn begin(
    link: &Link,
    keyring: &Keyring,
    identity: &Identity,
    events: mpsc::Sender<Event>,
    tasks: &TaskTracker,
) {
    let (channel, keyring, identity) = (link.channel.clone(), keyring.clone(), identity.clone());
    let work = async move {
        let renewed = renew(channel, &keyring, &identity).await;
        drop(events.send(Event::Renewed(renewed)).await);
    };
    tasks.spawn(work.in_current_span());
}

/// The next key has the next number, so a repeat after a crash shows the server the same key.
async fn renew(channel: Channel, keyring: &Keyring, identity: &Identity) -> Result<Identity, String> {
    let number = identity.key + 1;
    let key = keyring.key(number).map_err(|error| error.to_string())?;
    let csr_der = key.request().map_err(|error| error.to_string())?;
    let request = RenewRequest { csr_der, generation: identity.generation };
    let answer = JoinServiceClient::new(channel)
        .renew(request)
        .await
        .map_err(|status| status.message().to_owned())?
        .into_inner();
    let renewed = identity.renewed(answer.generation, number, &answer.certificate_chain);
    let chain = renewed.chain().map_err(|error| error.to_string())?;
    IdentityCell::new(key.with_chain(chain)).map_err(|error| error.to_string())?;
    Ok(renewed)
}
