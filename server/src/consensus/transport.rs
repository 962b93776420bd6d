//! What consensus asks of a wire between servers: typed messages, a deadline each, and one closed list of failures.
//!
//! The wire authenticates both ends and carries bytes; what arrives is handed to a [`super::PeerHandle`], which knows who
//! belongs to the group. Nothing in here knows how the bytes travel.

use std::future::Future;
use std::time::Duration;

use openraft::error::{InstallSnapshotError, RaftError};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};

use super::error::{ForwardError, ReadError};
use super::machine::Machine;
use super::parcel::{Forwarded, Parcel};
use super::types::{Peer, ServerId, TypeConfig};

/// A message from a leader with entries of its log, or none as a heartbeat.
pub type Append<M> = AppendEntriesRequest<TypeConfig<M>>;
/// What became of an [`Append`].
pub type Appended = Result<AppendEntriesResponse<ServerId>, RaftError<ServerId>>;
/// A candidate's request for a vote.
pub type Ballot = VoteRequest<ServerId>;
/// What became of a [`Ballot`].
pub type Voted = Result<VoteResponse<ServerId>, RaftError<ServerId>>;
/// One chunk of a leader's snapshot.
pub type SnapshotChunk<M> = InstallSnapshotRequest<TypeConfig<M>>;
/// What became of a [`SnapshotChunk`].
pub type Installed = Result<InstallSnapshotResponse<ServerId>, RaftError<ServerId, InstallSnapshotError>>;

/// Why a message got no answer from the server it was for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// There is no connection, or it broke. The message may have arrived all the same.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// There was no answer within the time given. The message may have arrived.
    #[error("it did not answer in time")]
    TimedOut,
    /// The message is larger than the wire carries; it was not sent.
    #[error("the message is too large for the wire")]
    TooLarge {
        /// Entries that would probably fit, at least one.
        entries_hint: u64,
    },
    /// The other end did not take the message: it does not know the sender, or is not who was meant. A sentence.
    #[error("it refused: {0}")]
    Refused(String),
}

/// A way to all peers. Cheap to clone; each call stands for itself and may run beside others to the same peer.
///
/// Each method sends one message to server `to`, reached at `peer`, and waits for its answer at most for `within`. The outer
/// result is the wire's, the inner one is the answer. Dropping a future gives the message up.
///
/// An implementation must make sure, on each connection, that the server at the other end is `to`.
pub trait Transport<M: Machine>: Clone + Send + Sync + 'static {
    /// Replicates entries, or says "I lead".
    fn append_entries(
        &self,
        to: ServerId,
        peer: &Peer,
        rpc: Append<M>,
        within: Duration,
    ) -> impl Future<Output = Result<Appended, TransportError>> + Send;

    /// Asks for a vote.
    fn vote(
        &self,
        to: ServerId,
        peer: &Peer,
        rpc: Ballot,
        within: Duration,
    ) -> impl Future<Output = Result<Voted, TransportError>> + Send;

    /// Sends one chunk of a snapshot. Its size is bounded by [`super::options::SNAPSHOT_CHUNK_BYTES`].
    fn install_snapshot(
        &self,
        to: ServerId,
        peer: &Peer,
        rpc: SnapshotChunk<M>,
        within: Duration,
    ) -> impl Future<Output = Result<Installed, TransportError>> + Send;

    /// Hands commands to the leader and waits until they are applied there.
    fn forward(
        &self,
        to: ServerId,
        peer: &Peer,
        parcel: Parcel<M>,
        within: Duration,
    ) -> impl Future<Output = Result<Result<Forwarded, ForwardError>, TransportError>> + Send;

    /// Asks the leader for an index that holds everything acknowledged so far; the leader confirms with a quorum.
    fn read_index(
        &self,
        to: ServerId,
        peer: &Peer,
        within: Duration,
    ) -> impl Future<Output = Result<Result<u64, ReadError>, TransportError>> + Send;

    /// Tells a voter to stand for election now.
    fn campaign(
        &self,
        to: ServerId,
        peer: &Peer,
        within: Duration,
    ) -> impl Future<Output = Result<(), TransportError>> + Send;
}

/// A wire that reaches nobody, for a group of one.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPeers;

fn nobody<T>(to: ServerId) -> Result<T, TransportError> {
    Err(TransportError::Unreachable(format!("this server has no connection to server {to} or any other")))
}

impl<M: Machine> Transport<M> for NoPeers {
    async fn append_entries(&self, to: u64, _: &Peer, _: Append<M>, _: Duration) -> Result<Appended, TransportError> {
        nobody(to)
    }

    async fn vote(&self, to: u64, _: &Peer, _: Ballot, _: Duration) -> Result<Voted, TransportError> {
        nobody(to)
    }

    async fn install_snapshot(
        &self,
        to: u64,
        _: &Peer,
        _: SnapshotChunk<M>,
        _: Duration,
    ) -> Result<Installed, TransportError> {
        nobody(to)
    }

    async fn forward(
        &self,
        to: u64,
        _: &Peer,
        _: Parcel<M>,
        _: Duration,
    ) -> Result<Result<Forwarded, ForwardError>, TransportError> {
        nobody(to)
    }

    async fn read_index(&self, to: u64, _: &Peer, _: Duration) -> Result<Result<u64, ReadError>, TransportError> {
        nobody(to)
    }

    async fn campaign(&self, to: u64, _: &Peer, _: Duration) -> Result<(), TransportError> {
        nobody(to)
    }
}
