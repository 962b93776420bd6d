//! What any server asks of the leader for an operator: how the group is doing, which the leader alone knows, and to step down.

use std::collections::BTreeMap;

use crate::consensus::{MembershipError, Role, ServerId, Status};

/// How the group is doing, as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The leader's term.
    pub term: u64,
    /// Index of the last entry in its log.
    pub last_index: Option<u64>,
    /// The members.
    pub members: BTreeMap<ServerId, MemberProgress>,
}

/// A member, as the leader sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberProgress {
    /// Entries it is behind.
    pub lag_entries: Option<u64>,
    /// How long ago it answered, milliseconds.
    pub silence_ms: Option<u64>,
}

impl Progress {
    /// Of this server's moment; `None` if it does not lead.
    #[must_use]
    pub fn of(status: &Status) -> Option<Self> {
        let members = status.members.iter().map(|(id, member)| {
            (*id, MemberProgress { lag_entries: member.lag_entries, silence_ms: member.silence_ms })
        });
        (status.role == Role::Leader).then(|| Self {
            term: status.term,
            last_index: status.last_log_index,
            members: members.collect(),
        })
    }

    /// The group as `leader` sees it, from what another member knows of it and this. Who belongs to it is that member's word.
    #[must_use]
    pub fn seen_from(self, leader: ServerId, own: Status) -> Status {
        let Self { term, last_index, members: seen } = self;
        let mut members = own.members;
        for (id, member) in &mut members {
            let MemberProgress { lag_entries, silence_ms } = seen.get(id).copied().unwrap_or_default();
            (member.lag_entries, member.silence_ms) = (lag_entries, silence_ms);
        }
        Status {
            id: leader,
            role: Role::Leader,
            term,
            leader: Some(leader),
            last_log_index: last_index,
            members,
            ..own
        }
    }
}

/// The leader's side. On a server that does not lead, each says so.
#[async_trait::async_trait]
pub trait Leader: Send + Sync + 'static {
    /// How the group is doing; `Err` with who leads, as far as this server knows.
    fn progress(&self) -> Result<Progress, Option<ServerId>>;

    /// Steps down for another voter, and returns when that leads.
    async fn hand_over(&self, to: ServerId) -> Result<(), MembershipError>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::testing::{mk_member, mk_status};

    #[test]
    fn what_the_leader_knows_is_laid_over_what_another_member_knows() {
        let leader = mk_status(1, [mk_member(1, true, None, Some(0)), mk_member(2, true, Some(4), Some(90))]);
        let mut own = mk_status(2, [mk_member(1, true, None, None), mk_member(2, true, None, None)]);
        (own.role, own.last_log_index, own.leader) = (Role::Follower, Some(96), Some(1));
        assert_eq!(Progress::of(&own), None);
        let seen = Progress::of(&leader).unwrap().seen_from(1, own);
        assert_eq!(seen, leader);
    }

    #[test]
    fn a_member_that_the_leader_did_not_name_is_not_known() {
        let leader = mk_status(1, [mk_member(1, true, None, Some(0))]);
        let own = mk_status(2, [mk_member(1, true, None, None), mk_member(3, false, Some(0), Some(0))]);
        let seen = Progress::of(&leader).unwrap().seen_from(1, own);
        assert_eq!((seen.members[&3].lag_entries, seen.members[&3].silence_ms), (None, None));
    }
}
