//! openraft's network over any [`Transport`]: deadlines, back-off, and failures in openraft's words.

use std::error::Error;
use std::marker::PhantomData;
use std::time::Duration;

use openraft::RPCTypes;
use openraft::error::{
    Infallible, InstallSnapshotError, PayloadTooLarge, RPCError, RaftError, RemoteError, Timeout, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{AppendEntriesResponse, InstallSnapshotResponse, VoteResponse};

use super::codec;
use super::contacts::Contacts;
use super::machine::Machine;
use super::signs::Signs;
use super::transport::{Append, Ballot, SnapshotChunk, Transport, TransportError};
use super::types::{Peer, ServerId, TypeConfig};

/// Pauses after a peer was not reached, the last one for ever. While it lasts the peer hears nothing, heartbeats neither, so it
/// stays well below an election time-out.
const BACKOFF_MS: [u64; 4] = [20, 50, 100, 200];

/// A message that timed out with more bytes than this is tried again with half its entries: the link may be too slow for it.
const SLOW_LINK_BYTES: usize = 128 * 1024;

/// Makes the ways to peers that openraft asks for.
pub struct Links<M, T> {
    id: ServerId,
    transport: T,
    contacts: Contacts,
    signs: Signs,
    machine: PhantomData<fn() -> M>,
}

impl<M, T> Links<M, T> {
    /// Ways of server `id` over a transport.
    pub(super) fn new(id: ServerId, transport: T, contacts: Contacts, signs: Signs) -> Self {
        Self { id, transport, contacts, signs, machine: PhantomData }
    }
}

impl<M: Machine, T: Transport<M>> RaftNetworkFactory<TypeConfig<M>> for Links<M, T> {
    type Network = Link<M, T>;

    async fn new_client(&mut self, to: ServerId, peer: &Peer) -> Link<M, T> {
        let (transport, contacts, signs) = (self.transport.clone(), self.contacts.clone(), self.signs.clone());
        Link { id: self.id, to, peer: peer.clone(), transport, contacts, signs, machine: PhantomData }
    }
}

/// The way to one peer.
pub struct Link<M, T> {
    id: ServerId,
    to: ServerId,
    peer: Peer,
    transport: T,
    contacts: Contacts,
    signs: Signs,
    machine: PhantomData<fn() -> M>,
}

type Failed<E> = RPCError<ServerId, Peer, RaftError<ServerId, E>>;

/// What one message is, for errors.
struct Sent {
    action: RPCTypes,
    entries: usize,
    bytes: usize,
}

impl<M: Machine, T: Transport<M>> Link<M, T> {
    /// Waits for the answer a little less long than openraft does, so that openraft hears why there was none.
    async fn deliver<R, E: Error>(
        &self,
        sent: Sent,
        option: &RPCOption,
        call: impl AsyncFnOnce(Duration) -> Result<Result<R, RaftError<ServerId, E>>, TransportError>,
    ) -> Result<R, Failed<E>> {
        let within = option.hard_ttl() * 9 / 10;
        let answered = tokio::time::timeout(within, call(within)).await;
        if matches!(answered, Ok(Ok(_))) {
            self.contacts.heard(self.to);
        }
        match answered.unwrap_or(Err(TransportError::TimedOut)) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(RPCError::RemoteError(RemoteError::new(self.to, error))),
            Err(error) => Err(self.failed(&sent, error, within)),
        }
    }

    fn failed<E: Error>(&self, sent: &Sent, error: TransportError, within: Duration) -> Failed<E> {
        let fewer = |hint: u64| RPCError::PayloadTooLarge(PayloadTooLarge::new_entries_hint(hint.max(1)));
        match error {
            // One entry cannot be divided: it is treated like a peer that is not there.
            TransportError::TooLarge { entries_hint } if sent.entries > 1 => fewer(entries_hint),
            TransportError::TimedOut if sent.entries > 1 && sent.bytes > SLOW_LINK_BYTES => {
                fewer(sent.entries as u64 / 2)
            }
            TransportError::TimedOut => {
                RPCError::Timeout(Timeout { action: sent.action, id: self.id, target: self.to, timeout: within })
            }
            error => RPCError::Unreachable(Unreachable::new(&error)),
        }
    }
}

impl<M: Machine, T: Transport<M>> RaftNetwork<TypeConfig<M>> for Link<M, T> {
    async fn append_entries(
        &mut self,
        rpc: Append<M>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<ServerId>, Failed<Infallible>> {
        let bytes = rpc.entries.iter().map(codec::entry_bytes).sum();
        let sent = Sent { action: RPCTypes::AppendEntries, entries: rpc.entries.len(), bytes };
        self.deliver(sent, &option, async |within| {
            self.transport.append_entries(self.to, &self.peer, rpc, within).await
        })
        .await
    }

    async fn install_snapshot(
        &mut self,
        rpc: SnapshotChunk<M>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<ServerId>, Failed<InstallSnapshotError>> {
        let sent = Sent { action: RPCTypes::InstallSnapshot, entries: 0, bytes: rpc.data.len() };
        self.deliver(sent, &option, async |within| {
            self.transport.install_snapshot(self.to, &self.peer, rpc, within).await
        })
        .await
    }

    async fn vote(&mut self, rpc: Ballot, option: RPCOption) -> Result<VoteResponse<ServerId>, Failed<Infallible>> {
        let sent = Sent { action: RPCTypes::Vote, entries: 0, bytes: 0 };
        let ballot = rpc.clone();
        let asked = async |within| self.transport.vote(self.to, &self.peer, rpc, within).await;
        self.deliver(sent, &option, asked).await.inspect(|answer| self.signs.answered(&ballot, answer))
    }

    fn backoff(&self) -> Backoff {
        let last = BACKOFF_MS.last().copied().into_iter().cycle();
        Backoff::new(BACKOFF_MS.into_iter().chain(last).map(Duration::from_millis))
    }
}
