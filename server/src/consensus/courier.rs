//! A [`Transport`] whose type is forgotten, for the handle that must not carry it.

use std::time::Duration;

use super::error::{ForwardError, ReadError};
use super::machine::Machine;
use super::parcel::{Forwarded, Parcel};
use super::transport::{Transport, TransportError};
use super::types::{Peer, ServerId};

/// What consensus itself sends to peers, beside what openraft does.
#[async_trait::async_trait]
pub(super) trait Courier<M: Machine>: Send + Sync {
    /// See [`Transport::forward`].
    async fn forward(
        &self,
        to: ServerId,
        peer: Peer,
        parcel: Parcel<M>,
        within: Duration,
    ) -> Result<Result<Forwarded, ForwardError>, TransportError>;

    /// See [`Transport::read_index`].
    async fn read_index(
        &self,
        to: ServerId,
        peer: Peer,
        within: Duration,
    ) -> Result<Result<u64, ReadError>, TransportError>;

    /// See [`Transport::campaign`].
    async fn campaign(&self, to: ServerId, peer: Peer, within: Duration) -> Result<(), TransportError>;
}

#[async_trait::async_trait]
impl<M: Machine, T: Transport<M>> Courier<M> for T {
    async fn forward(
        &self,
        to: ServerId,
        peer: Peer,
        parcel: Parcel<M>,
        within: Duration,
    ) -> Result<Result<Forwarded, ForwardError>, TransportError> {
        let sent = Transport::forward(self, to, &peer, parcel, within);
        tokio::time::timeout(within, sent).await.unwrap_or(Err(TransportError::TimedOut))
    }

    async fn read_index(
        &self,
        to: ServerId,
        peer: Peer,
        within: Duration,
    ) -> Result<Result<u64, ReadError>, TransportError> {
        let sent = Transport::read_index(self, to, &peer, within);
        tokio::time::timeout(within, sent).await.unwrap_or(Err(TransportError::TimedOut))
    }

    async fn campaign(&self, to: ServerId, peer: Peer, within: Duration) -> Result<(), TransportError> {
        let sent = Transport::campaign(self, to, &peer, within);
        tokio::time::timeout(within, sent).await.unwrap_or(Err(TransportError::TimedOut))
    }
}
