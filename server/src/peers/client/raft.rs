//! What consensus sends.

use std::time::Duration;

use openraft::error::{InstallSnapshotError, RaftError};
use openraft::raft::AppendEntriesResponse;

use super::{Client, meaningless};
use crate::consensus::transport::{Append, Appended, Ballot, Installed, SnapshotChunk, Voted};
use crate::consensus::{
    ForwardError, Forwarded, Machine, Parcel, Peer, ReadError, ServerId, Transport, TransportError, codec,
};
use crate::peers::wire::{forward, raft, snapshot};
use crate::peers::{APPEND_BYTES_MAX, CHUNK_BYTES_MAX};
use crate::web::metrics::PeerCall;

impl<M: Machine> Transport<M> for Client {
    async fn append_entries(
        &self,
        to: ServerId,
        peer: &Peer,
        rpc: Append<M>,
        within: Duration,
    ) -> Result<Appended, TransportError> {
        let fitting = fitting(&rpc);
        if fitting < rpc.entries.len() {
            return Err(TransportError::TooLarge { entries_hint: fitting as u64 });
        }
        let (vote, last) = (rpc.vote, rpc.entries.last().map(|entry| entry.log_id).or(rpc.prev_log_id));
        let request = |envelope| raft::render_append::<M>(envelope, &rpc);
        let sent = self.send(PeerCall::Append, (to, peer, within), request, |mut client, request| async move {
            client.append(request).await
        });
        let appended = raft::parse_appended(sent.await?).map_err(meaningless)?;
        let memory = &self.inner.memory;
        match &appended {
            AppendEntriesResponse::Success => memory.acknowledged(to, vote, last.map(|id| id.index)),
            AppendEntriesResponse::PartialSuccess(last) => memory.acknowledged(to, vote, last.map(|id| id.index)),
            AppendEntriesResponse::Conflict => memory.voted(to, vote),
            AppendEntriesResponse::HigherVote(vote) => memory.voted(to, *vote),
        }
        Ok(Ok(appended))
    }

    async fn vote(&self, to: ServerId, peer: &Peer, rpc: Ballot, within: Duration) -> Result<Voted, TransportError> {
        let request = |envelope| raft::render_candidacy(envelope, &rpc);
        let sent = self.send(PeerCall::Vote, (to, peer, within), request, |mut client, request| async move {
            client.vote(request).await
        });
        let voted = raft::parse_voted(sent.await?).map_err(meaningless)?;
        self.inner.memory.voted(to, voted.vote);
        Ok(Ok(voted))
    }

    async fn install_snapshot(
        &self,
        to: ServerId,
        peer: &Peer,
        rpc: SnapshotChunk<M>,
        within: Duration,
    ) -> Result<Installed, TransportError> {
        if rpc.data.len() > CHUNK_BYTES_MAX {
            return Err(TransportError::TooLarge { entries_hint: 1 });
        }
        let (vote, last, done) = (rpc.vote, rpc.meta.last_log_id, rpc.done);
        let request = |envelope| snapshot::render::<M>(envelope, rpc);
        let sent =
            self.send(PeerCall::InstallSnapshot, (to, peer, within), request, |mut client, request| async move {
                client.install_snapshot(request).await
            });
        let installed = snapshot::parse_installed(sent.await?).map_err(meaningless)?;
        if done && installed.as_ref().is_ok_and(|installed| installed.vote == vote) {
            self.inner.memory.acknowledged(to, vote, last.map(|id| id.index));
        }
        Ok(installed.map_err(|mismatch| RaftError::APIError(InstallSnapshotError::SnapshotMismatch(mismatch))))
    }

    async fn forward(
        &self,
        to: ServerId,
        peer: &Peer,
        parcel: Parcel<M>,
        within: Duration,
    ) -> Result<Result<Forwarded, ForwardError>, TransportError> {
        let request = |envelope| forward::render(envelope, &parcel);
        let sent = self.send(PeerCall::Forward, (to, peer, within), request, |mut client, request| async move {
            client.forward(request).await
        });
        forward::parse_forwarded(sent.await?).map_err(meaningless)
    }

    async fn read_index(
        &self,
        to: ServerId,
        peer: &Peer,
        within: Duration,
    ) -> Result<Result<u64, ReadError>, TransportError> {
        let request = forward::render_read_index;
        let sent = self.send(PeerCall::ReadIndex, (to, peer, within), request, |mut client, request| async move {
            client.read_index(request).await
        });
        forward::parse_read(sent.await?).map_err(meaningless)
    }

    async fn campaign(&self, to: ServerId, peer: &Peer, within: Duration) -> Result<(), TransportError> {
        let request = forward::render_campaign;
        let sent = self.send(PeerCall::Campaign, (to, peer, within), request, |mut client, request| async move {
            client.campaign(request).await
        });
        sent.await.map(|_| ())
    }
}

/// How many of the first entries fit one message; at least one, which may be as large as an entry can be.
fn fitting<M: Machine>(rpc: &Append<M>) -> usize {
    let mut bytes = 0;
    let fits = |entry: &&crate::consensus::types::Entry<M>| {
        bytes += codec::entry_bytes(*entry);
        bytes <= APPEND_BYTES_MAX
    };
    rpc.entries.iter().take_while(fits).count().max(1)
}
