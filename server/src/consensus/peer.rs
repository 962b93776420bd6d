//! The receiving side of the wire: what another server asks of this one, and whether it may.

use std::sync::Arc;

use muster_state::planted::{Bug, is_planted};
use openraft::ServerState;
use openraft::error::{CheckIsLeaderError, RaftError};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::error::{ForwardError, ReadError};
use super::legacy::Legacy;
use super::machine::Machine;
use super::parcel::{Forwarded, Parcel};
use super::proposer::Arrived;
use super::receiving::Receiving;
use super::signs::Signs;
use super::state_machine::Shared;
use super::transport::{Append, Appended, Ballot, Installed, SnapshotChunk, TransportError, Voted};
use super::types::{Raft, ServerId, Vote};

/// The door for other servers. Cheap to clone; it does not keep consensus running.
///
/// `from` is the sender, as the wire has authenticated it. Who does not belong to the group, as far as this server can know, is
/// refused: its message is not looked at.
pub struct PeerHandle<M: Machine> {
    raft: Raft<M>,
    shared: Arc<Shared<M>>,
    arrived: mpsc::Sender<Arrived<M>>,
    receiving: Arc<Mutex<Receiving>>,
    legacy: Legacy,
    signs: Signs,
}

impl<M: Machine> Clone for PeerHandle<M> {
    fn clone(&self) -> Self {
        Self {
            raft: self.raft.clone(),
            shared: self.shared.clone(),
            arrived: self.arrived.clone(),
            receiving: self.receiving.clone(),
            legacy: self.legacy,
            signs: self.signs.clone(),
        }
    }
}

/// Why a message was not looked at further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The sender does not belong to the group, as far as this server knows.
    #[error("server {from} does not belong to this group")]
    NotAMember {
        /// The sender.
        from: ServerId,
    },
    /// Entries that do not follow on one another, or on the one that they are said to follow.
    #[error("the entries leave a gap before {index}")]
    Gap {
        /// The first one out of place.
        index: u64,
    },
}

impl From<PeerError> for TransportError {
    fn from(refused: PeerError) -> Self {
        Self::Refused(refused.to_string())
    }
}

impl<M: Machine> PeerHandle<M> {
    pub(super) fn new(
        raft: Raft<M>,
        shared: Arc<Shared<M>>,
        arrived: mpsc::Sender<Arrived<M>>,
        legacy: Legacy,
        signs: Signs,
    ) -> Self {
        Self { raft, shared, arrived, receiving: Arc::default(), legacy, signs }
    }

    /// Takes entries or a heartbeat from a leader. A server that has no log yet takes them from any server of the fleet: that is
    /// how it learns of its group.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn append_entries(&self, from: ServerId, rpc: Append<M>) -> Result<Appended, PeerError> {
        self.admit_leader(from)?;
        refuse_gaps(&rpc)?;
        // Here and not once it is carried out: a disk of this server's own that stalls is no silence of the leader's.
        if rpc.vote >= self.raft.metrics().borrow().vote {
            self.signs.heard_leader();
        }
        Ok(self.raft.append_entries(rpc).await)
    }

    /// Takes a candidate's request for a vote. A server that has no log yet votes for nobody.
    ///
    /// # Errors
    /// [`PeerError::NotAMember`].
    pub async fn vote(&self, from: ServerId, rpc: Ballot) -> Result<Voted, PeerError> {
        self.admit_elector(from)?;
        let voted = self.raft.vote(rpc.clone()).await;
        if let Ok(answer) = &voted {
            self.signs.answers(&rpc, answer);
        }
        Ok(voted)
    }

    /// Takes a chunk of a leader's snapshot. Chunks come in order; one that does not fit starts the transfer again. As with
    /// entries, a server that has no log yet takes it from any server of the fleet.
    ///
    /// # Errors
    /// [`PeerError::NotAMember`].
    pub async fn install_snapshot(&self, from: ServerId, rpc: SnapshotChunk<M>) -> Result<Installed, PeerError> {
        self.admit_leader(from)?;
        Ok(self.receive(rpc).await)
    }

    async fn receive(&self, chunk: SnapshotChunk<M>) -> Installed {
        let vote = self.raft.with_raft_state(|state| *state.vote_ref()).await.map_err(RaftError::Fatal)?;
        if chunk.vote < vote {
            // The sender leads no more and learns it from this.
            return Ok(openraft::raft::InstallSnapshotResponse { vote });
        }
        self.signs.heard_leader();
        let (vote, meta) = (chunk.vote, chunk.meta.clone());
        let whole = self.receiving.lock().await.take_in(chunk).map_err(RaftError::APIError)?;
        if let Some(state) = whole {
            let snapshot = openraft::Snapshot { meta, snapshot: Box::new(std::io::Cursor::new(state)) };
            let installed = self.raft.install_full_snapshot(vote, snapshot).await.map_err(RaftError::Fatal)?;
            return Ok(openraft::raft::InstallSnapshotResponse { vote: installed.vote });
        }
        Ok(openraft::raft::InstallSnapshotResponse { vote })
    }

    /// Takes commands that another server forwards, if this one leads, and answers when they are applied. It never passes them on.
    ///
    /// # Errors
    /// [`PeerError::NotAMember`].
    pub async fn forward(
        &self,
        from: ServerId,
        parcel: Parcel<M>,
    ) -> Result<Result<Forwarded, ForwardError>, PeerError> {
        self.admit_member(from)?;
        if parcel.origin.server != from || !parcel.is_bounded() {
            return Ok(Err(ForwardError::Malformed));
        }
        let (done, answer) = oneshot::channel();
        Ok(match self.arrived.try_send(Arrived { parcel, done }) {
            // The task that took it is gone: nobody can say.
            Ok(()) => answer.await.unwrap_or(Err(ForwardError::Unknown)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(ForwardError::Overloaded),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(ForwardError::Unavailable),
        })
    }

    /// Confirms with a quorum that this server leads, and says up to where a state must have got to hold everything that was
    /// acknowledged before.
    ///
    /// # Errors
    /// [`PeerError::NotAMember`].
    pub async fn read_index(&self, from: ServerId) -> Result<Result<u64, ReadError>, PeerError> {
        self.admit_member(from)?;
        Ok(read_index(&self.raft, self.legacy).await)
    }

    /// Stands for election now, if this server votes and the sender is the leader, which hands over.
    ///
    /// # Errors
    /// [`PeerError::NotAMember`].
    pub async fn campaign(&self, from: ServerId) -> Result<(), PeerError> {
        self.admit_member(from)?;
        let leader = self.raft.metrics().borrow().current_leader;
        if leader == Some(from) {
            // A core that is gone shows elsewhere.
            let _ = self.raft.trigger().elect().await;
        }
        Ok(())
    }

    /// The index of the last entry in this server's log, and its vote: what it says of itself when it starts. At the start both
    /// are those on disk.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] if consensus has stopped.
    pub async fn promised(&self) -> Result<(Option<u64>, Vote), ReadError> {
        // It answers once the core runs, and then its figures are there too.
        let vote = self.raft.with_raft_state(|state| *state.vote_ref()).await.map_err(|_| ReadError::Unavailable)?;
        Ok((self.raft.metrics().borrow().last_log_index, vote))
    }

    fn admit_leader(&self, from: ServerId) -> Result<(), PeerError> {
        if self.raft.metrics().borrow().last_log_index.is_none() { Ok(()) } else { self.admit_elector(from) }
    }

    /// A server that lags may not know yet of one that joined, votes and leads since; refusing it would leave this one behind for
    /// ever. Only who is known to have left is refused, for a number is never used twice. Nothing else can be told from a number:
    /// servers are approved in any order. The wire has seen its certificate, which an operator approved.
    fn admit_elector(&self, from: ServerId) -> Result<(), PeerError> {
        if self.admit_member(from).is_ok() {
            return Ok(());
        }
        let has_group = self.raft.metrics().borrow().membership_config.nodes().next().is_some();
        let is_new = has_group && !self.shared.read().knows(from);
        if is_new { Ok(()) } else { Err(PeerError::NotAMember { from }) }
    }

    fn admit_member(&self, from: ServerId) -> Result<(), PeerError> {
        let metrics = self.raft.metrics();
        let member = metrics.borrow().membership_config.membership().get_node(&from).is_some();
        if member { Ok(()) } else { Err(PeerError::NotAMember { from }) }
    }
}

/// openraft takes such entries as they are, and this server's log, which holds no gaps, would end the process. They come from a
/// server that led until now: its way to this one reads the log once more while what it reads is being purged.
fn refuse_gaps<M: Machine>(rpc: &Append<M>) -> Result<(), PeerError> {
    let first = rpc.prev_log_id.map_or(0, |previous| previous.index + 1);
    let misplaced = (first..).zip(&rpc.entries).find(|(expected, entry)| entry.log_id.index != *expected);
    misplaced.map_or(Ok(()), |(_, entry)| Err(PeerError::Gap { index: entry.log_id.index }))
}

/// One quorum round: the index that a linearizable read must wait for.
pub(super) async fn read_index<M: Machine>(raft: &Raft<M>, legacy: Legacy) -> Result<u64, ReadError> {
    let alone = raft.metrics().borrow().last_applied.filter(|_| is_planted(Bug::ReadWithoutMajority) && leads(raft));
    if let Some(id) = alone {
        return Ok(id.index);
    }
    match raft.get_read_log_id().await {
        Ok((read, _)) => Ok(read.map_or(0, |id| legacy.read_index(id))),
        Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(to))) => {
            Err(ReadError::NotLeader { leader: to.leader_id })
        }
        // One missed heartbeat is enough for this.
        Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_))) => Err(ReadError::TimedOut),
        Err(RaftError::Fatal(_)) => Err(ReadError::Unavailable),
    }
}

/// True if this server leads, as far as it knows.
pub(super) fn leads<M: Machine>(raft: &Raft<M>) -> bool {
    raft.metrics().borrow().state == ServerState::Leader
}

#[cfg(test)]
mod tests;
