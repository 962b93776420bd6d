//! Who belongs to the group: joining, voting, leaving, and handing leadership over. All of it is asked of the leader.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::error::{ChangeMembershipError, ClientWriteError, Fatal, RaftError};

use super::handle::Consensus;
use super::machine::Machine;
use super::peer::leads;
use super::types::{Peer, ServerId};

/// How long a change may take to commit. openraft's own wait has no end.
const CHANGE_WITHIN: Duration = Duration::from_secs(15);

/// How long the next leader may take to stand and win.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(5);

/// The same when this server stops.
const HAND_OVER_AT_STOP_WITHIN: Duration = Duration::from_secs(2);

/// A voter that has been silent for longer is not asked to take over.
const HAND_OVER_SILENCE_MS: u64 = 500;

/// Entries that a server may be behind to be handed leadership: it catches up in one message.
const HAND_OVER_LAG_MAX: u64 = 64;

/// Why the group did not change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Another server leads; nothing was changed.
    #[error("this server does not lead{}", leader.map(|id| format!("; server {id} does")).unwrap_or_default())]
    NotLeader {
        /// Who does, as far as this server knows.
        leader: Option<ServerId>,
    },
    /// An earlier change is not committed yet; nothing was changed. Try again soon.
    #[error("another change of the group is under way")]
    Busy,
    /// The group would have no voter.
    #[error("a group needs a voter")]
    NoVoter,
    /// A voter must be a learner first.
    #[error("server {0} is not a learner of this group")]
    NotALearner(ServerId),
    /// Only a voter that has kept up can take leadership over.
    #[error("server {0} is no voter of this group that has kept up")]
    CannotLead(ServerId),
    /// The change may or may not have happened: look at the status, and ask again.
    #[error("no answer in time: whether the group was changed is not known")]
    TimedOut,
    /// This server is stopping.
    #[error("this server is stopping")]
    Unavailable,
}

impl<M: Machine> Consensus<M> {
    /// Adds a server that receives the log and does not vote. Returns when that is committed, not when the server has caught up;
    /// does nothing if it is a member already.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn add_learner(&self, id: ServerId, peer: Peer) -> Result<(), MembershipError> {
        if leads(self.raft()) && self.status().members.contains_key(&id) {
            return self.settled().await;
        }
        self.change(ChangeMembers::AddNodes([(id, peer)].into())).await
    }

    /// Changes where a member is reached.
    ///
    /// # Errors
    /// [`MembershipError::NotALearner`] for a server that is no member.
    pub async fn set_peer(&self, id: ServerId, peer: Peer) -> Result<(), MembershipError> {
        match self.status().members.get(&id) {
            None => Err(MembershipError::NotALearner(id)),
            Some(member) if member.peer == peer && leads(self.raft()) => Ok(()),
            // Safe here, though openraft warns of it: on each connection the wire makes sure that it reached that server.
            Some(_) => self.change(ChangeMembers::SetNodes([(id, peer)].into())).await,
        }
    }

    /// Makes exactly these servers voters, through a joint configuration. Who was a voter and is not any more stays as a learner.
    ///
    /// # Errors
    /// [`MembershipError`]; after [`MembershipError::TimedOut`] the group may be left in the joint configuration: see
    /// [`Consensus::finish_joint`].
    pub async fn change_voters(&self, voters: BTreeSet<ServerId>) -> Result<(), MembershipError> {
        self.change(ChangeMembers::ReplaceAllVoters(voters)).await
    }

    /// Completes a change of voters that an earlier leader began. Does nothing if there is none.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn finish_joint(&self) -> Result<(), MembershipError> {
        if !self.status().joint {
            return self.settled().await;
        }
        // Adding nobody to the newer configuration makes it the only one.
        self.change(ChangeMembers::AddVoterIds(BTreeSet::new())).await
    }

    /// Takes a server out of the group; a voter stops voting first. Does nothing if it is not a member. A leader should hand over
    /// before it is removed: once it votes no more it steps down, and the rest is asked of the next one.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn remove(&self, id: ServerId) -> Result<(), MembershipError> {
        let status = self.status();
        let Some(member) = status.members.get(&id) else { return self.settled().await };
        if member.voter {
            let voters: BTreeSet<_> = status.voters().filter(|voter| *voter != id).collect();
            self.change_voters(voters).await?;
        }
        self.change(ChangeMembers::RemoveNodes([id].into())).await
    }

    /// Has a snapshot made soon, if there is anything new to put into it.
    ///
    /// # Errors
    /// [`MembershipError::Unavailable`].
    pub async fn trigger_snapshot(&self) -> Result<(), MembershipError> {
        self.raft().trigger().snapshot().await.map_err(|_| MembershipError::Unavailable)
    }

    /// Hands leadership to a voter that has kept up, and returns when it leads.
    ///
    /// This is a step-down, for the library has no transfer: this leader begins nothing new, stops its heartbeats, waits until
    /// followers would vote for another one (their lease), and tells `to` to stand. Commands wait meanwhile, they are not lost. If
    /// `to` does not win, this server or another one leads again after an election.
    ///
    /// # Errors
    /// [`MembershipError::CannotLead`], [`MembershipError::NotLeader`], [`MembershipError::TimedOut`].
    pub async fn hand_over_leadership(&self, to: ServerId) -> Result<(), MembershipError> {
        let status = self.status();
        if status.leader == Some(to) {
            return Ok(());
        }
        if !leads(self.raft()) {
            return Err(MembershipError::NotLeader { leader: status.leader });
        }
        let kept_up = |lag: Option<u64>| lag.is_some_and(|lag| lag <= HAND_OVER_LAG_MAX);
        let Some(next) = status.members.get(&to).filter(|member| member.voter && kept_up(member.lag_entries)) else {
            return Err(MembershipError::CannotLead(to));
        };
        let quiet = Quiet::keep(self);
        // With at most three voters the two of them are a majority, and need nobody whose lease still runs.
        if status.voters().count() > 3 {
            tokio::time::sleep(self.timings().election_max).await;
        }
        let asked = self.courier().campaign(to, next.peer.clone(), HAND_OVER_WITHIN).await;
        if let Err(error) = asked {
            tracing::warn!(%error, to, "a server could not be told to take over");
            return Err(MembershipError::CannotLead(to));
        }
        let mut metrics = self.raft().metrics();
        let won = metrics.wait_for(|now| now.current_leader == Some(to) || now.running_state.is_err());
        let outcome = match tokio::time::timeout(HAND_OVER_WITHIN, won).await {
            Ok(Ok(now)) if now.running_state.is_ok() => Ok(()),
            Ok(_) => Err(MembershipError::Unavailable),
            Err(_) => Err(MembershipError::TimedOut),
        };
        drop(quiet);
        outcome
    }

    /// Hands leadership to whichever voter is best prepared, if this server leads others: a restart then costs no election
    /// time-out. Tries once, and not for long.
    pub(super) async fn hand_over_to_any(&self) {
        let status = self.status();
        let others = status.members.iter().filter(|(id, member)| **id != status.id && member.voter);
        let answers =
            others.filter(|(_, member)| member.silence_ms.is_some_and(|silence| silence < HAND_OVER_SILENCE_MS));
        let best = answers.min_by_key(|(id, member)| (member.lag_entries.unwrap_or(u64::MAX), **id));
        if let Some((to, _)) = best.filter(|_| leads(self.raft())) {
            let handed_over = tokio::time::timeout(HAND_OVER_AT_STOP_WITHIN, self.hand_over_leadership(*to)).await;
            if !matches!(handed_over, Ok(Ok(()))) {
                tracing::info!(to, "leadership could not be handed over; the others elect");
            }
        }
    }

    /// A group that looks as it was asked to is not there yet while the entry that makes it so may still be lost.
    async fn settled(&self) -> Result<(), MembershipError> {
        let looked = self.raft().with_raft_state(|state| {
            let members = &state.membership_state;
            members.effective().log_id() == members.committed().log_id()
        });
        let is_settled = looked.await.map_err(|_| MembershipError::Unavailable)?;
        if is_settled { Ok(()) } else { Err(MembershipError::Busy) }
    }

    async fn change(&self, change: ChangeMembers<ServerId, Peer>) -> Result<(), MembershipError> {
        if !leads(self.raft()) {
            return Err(MembershipError::NotLeader { leader: self.status().leader });
        }
        let changed = self.raft().change_membership(change, true);
        match tokio::time::timeout(CHANGE_WITHIN, changed).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(refused(error)),
            Err(_) => Err(MembershipError::TimedOut),
        }
    }
}

/// A leader that begins nothing and sends no heartbeats, until this is dropped. What it sends renews the lease of followers.
struct Quiet<'a, M: Machine>(&'a Consensus<M>);

impl<'a, M: Machine> Quiet<'a, M> {
    fn keep(consensus: &'a Consensus<M>) -> Self {
        consensus.resting().send_replace(true);
        consensus.raft().runtime_config().heartbeat(false);
        Self(consensus)
    }
}

impl<M: Machine> Drop for Quiet<'_, M> {
    fn drop(&mut self) {
        self.0.raft().runtime_config().heartbeat(true);
        self.0.resting().send_replace(false);
    }
}

fn refused(error: RaftError<ServerId, ClientWriteError<ServerId, Peer>>) -> MembershipError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => {
            MembershipError::NotLeader { leader: to.leader_id }
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => match error {
            ChangeMembershipError::InProgress(_) => MembershipError::Busy,
            ChangeMembershipError::EmptyMembership(_) => MembershipError::NoVoter,
            ChangeMembershipError::LearnerNotFound(learner) => MembershipError::NotALearner(learner.node_id),
        },
        RaftError::Fatal(Fatal::Stopped | Fatal::Panicked | Fatal::StorageError(_)) => MembershipError::Unavailable,
    }
}

#[cfg(test)]
mod tests;
