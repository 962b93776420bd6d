//! How consensus is doing: a value for metrics, health and the fleet page.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::{RaftMetrics, ServerState};

use super::contacts::Contacts;
use super::types::{Peer, ServerId};
use crate::storage::durable::Counters;

/// What this server is in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Receives the log, does not vote.
    Learner,
    /// Votes and follows.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
    /// Has stopped.
    Stopped,
}

/// A moment of this server's consensus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// This server.
    pub id: ServerId,
    /// What it is.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<ServerId>,
    /// Index of the last entry in its log.
    pub last_log_index: Option<u64>,
    /// Index of the last entry in its state.
    pub applied_index: Option<u64>,
    /// Index of the last entry in its newest snapshot.
    pub snapshot_index: Option<u64>,
    /// Index of the last entry that was purged from its log.
    pub purged_index: Option<u64>,
    /// Milliseconds since a majority answered this leader.
    pub quorum_ack_age_ms: Option<u64>,
    /// Members of the group, and whether they vote.
    pub members: BTreeMap<ServerId, Member>,
    /// A change of voters is not finished: two sets of them must agree to everything.
    pub joint: bool,
    /// Fsyncs of the log so far.
    pub log_syncs: u64,
    /// Bytes of entries in the log.
    pub log_bytes: u64,
}

/// Whether a set of voters can go on, as the leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Margin {
    /// Voters that answered lately.
    pub answering: usize,
    /// How many a majority takes.
    pub needed: usize,
}

impl Margin {
    /// Enough answer.
    pub fn is_enough(self) -> bool {
        self.answering >= self.needed
    }
}

/// A member of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where it is reached.
    pub peer: Peer,
    /// Whether it votes.
    pub voter: bool,
    /// Entries it is behind; known to the leader only.
    pub lag_entries: Option<u64>,
    /// How long ago it answered, milliseconds; known to the leader only, which asks several times a second, and 0 for
    /// itself. `None` there: not since it began to lead.
    pub silence_ms: Option<u64>,
}

impl Status {
    /// Who votes.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> {
        self.members.iter().filter(|(_, member)| member.voter).map(|(id, _)| *id)
    }

    /// Whether these servers could go on as the only voters: how many of them answered within `within_ms`. Means something
    /// on the leader only; elsewhere nobody is known to answer.
    pub fn margin(&self, voters: &BTreeSet<ServerId>, within_ms: u64) -> Margin {
        let answers = |id: &&ServerId| {
            let silence_ms = self.members.get(id).and_then(|member| member.silence_ms);
            silence_ms.is_some_and(|silence_ms| silence_ms <= within_ms)
        };
        Margin { answering: voters.iter().filter(answers).count(), needed: voters.len() / 2 + 1 }
    }

    pub(super) fn new(metrics: &RaftMetrics<ServerId, Peer>, counters: &Counters, contacts: &Contacts) -> Self {
        Self {
            id: metrics.id,
            role: role(metrics),
            term: metrics.current_term,
            leader: metrics.current_leader,
            last_log_index: metrics.last_log_index,
            applied_index: metrics.last_applied.map(|id| id.index),
            snapshot_index: metrics.snapshot.map(|id| id.index),
            purged_index: metrics.purged.map(|id| id.index),
            quorum_ack_age_ms: metrics.millis_since_quorum_ack,
            members: members(metrics, contacts),
            joint: metrics.membership_config.membership().get_joint_config().len() > 1,
            log_syncs: counters.syncs.load(Ordering::Relaxed),
            log_bytes: counters.log_bytes.load(Ordering::Relaxed),
        }
    }
}

fn role(metrics: &RaftMetrics<ServerId, Peer>) -> Role {
    if metrics.running_state.is_err() {
        return Role::Stopped;
    }
    match metrics.state {
        ServerState::Learner => Role::Learner,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Leader => Role::Leader,
        ServerState::Shutdown => Role::Stopped,
    }
}

fn members(metrics: &RaftMetrics<ServerId, Peer>, contacts: &Contacts) -> BTreeMap<ServerId, Member> {
    let membership = metrics.membership_config.membership();
    let voters: Vec<ServerId> = membership.voter_ids().collect();
    let member = |(id, peer): (&ServerId, &Peer)| {
        let matched = metrics.replication.as_ref().and_then(|peers| peers.get(id)).copied().flatten();
        let lag_entries = metrics.last_log_index.zip(matched).map(|(last, matched)| last.saturating_sub(matched.index));
        let heard_ms = || if *id == metrics.id { Some(0) } else { contacts.silence(*id).map(millis) };
        let silence_ms = metrics.replication.as_ref().and_then(|_| heard_ms());
        (*id, Member { peer: peer.clone(), voter: voters.contains(id), lag_entries, silence_ms })
    };
    membership.nodes().map(member).collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
