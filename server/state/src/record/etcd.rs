//! The members of a cluster's etcd as the leader saw them, and what is decided about them.

use serde::{Deserialize, Serialize};

use super::EtcdMember;

/// A member, and how it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchedMember {
    /// What etcd lists.
    pub member: EtcdMember,
    /// It answers under its own id, knows a leader and raises no alarm.
    pub healthy: bool,
}

impl WatchedMember {
    /// It takes part in elections.
    pub fn is_voter(&self) -> bool {
        !self.member.learner
    }

    /// It has run: a member tells the others its name when it starts, and has none before.
    pub fn is_started(&self) -> bool {
        !self.member.name.is_empty()
    }

    /// What a join leaves behind that never came to its end: it holds nothing and counts for nothing.
    pub fn is_unstarted_learner(&self) -> bool {
        self.member.learner && !self.is_started()
    }

    /// It counts where a quorum is needed.
    pub(crate) fn holds_quorum(&self) -> bool {
        self.is_voter() && self.is_started() && self.healthy
    }

    /// `unstarted learner 2f3e (https://…)`, for sentences.
    pub fn describe(&self) -> String {
        let started = if self.is_started() { "" } else { "unstarted " };
        let role = if self.is_voter() { "voter" } else { "learner" };
        format!("{started}{role} {} ({})", self.member.id, self.member.peer_urls.join(", "))
    }
}

/// Why etcd's members are not known now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdProblem {
    /// In a sentence.
    pub message: String,
    /// Since when.
    pub since_ms: u64,
}

/// A member that is to be taken out: decided, and not yet seen to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdRemoval {
    /// Id of the member, hex.
    pub member: String,
    /// An operator said so; otherwise it is what a failed join left.
    pub by_operator: bool,
    /// When it was decided.
    pub since_ms: u64,
}

/// What is known of a cluster's etcd, by the leader's own connection to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdView {
    /// All members by id, as they were last seen; none: they never were.
    pub members: Vec<WatchedMember>,
    /// Since when they are like that.
    pub since_ms: u64,
    /// They can't be seen now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<EtcdProblem>,
    /// Members that are to be taken out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removals: Vec<EtcdRemoval>,
}

impl EtcdView {
    /// The member with that id.
    pub fn member(&self, id: &str) -> Option<&WatchedMember> {
        self.members.iter().find(|watched| watched.member.id == id)
    }

    /// That member is to be taken out.
    pub fn removal(&self, id: &str) -> Option<&EtcdRemoval> {
        self.removals.iter().find(|removal| removal.member == id)
    }

    /// What is known is what is.
    pub fn is_current(&self) -> bool {
        self.problem.is_none() && !self.members.is_empty()
    }
}
