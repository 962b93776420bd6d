//! Pure planning: from what the state wants and what the group is, to what the leader should do next. A plan holds at most one
//! change of the group; after it is made, one plans again.

use std::collections::BTreeSet;

use muster_state::{
    State, limits,
    record::{ServerRecord, ServerStanding},
};

use crate::{
    ledger::{Member, Role, Status},
    operations::{remove_server::ANSWERS_WITHIN_MS, transfer_leader},
};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Complete a change of voters that an earlier leader began.
    FinishJoint,
    /// Step down for another voter, since this server has to leave.
    HandOver {
        /// Who takes over.
        to: u64,
    },
    /// Take a server into the group, as a learner.
    AddLearner {
        /// Which.
        server: u64,
        /// `host:port` of its peer listener.
        address: String,
    },
    /// Say where a member is reached now.
    SetAddress {
        /// Which.
        server: u64,
        /// `host:port` of its peer listener.
        address: String,
    },
    /// Make exactly these voters.
    ChangeVoters(BTreeSet<u64>),
    /// Take a server that does not vote out of the group.
    RemoveMember(u64),
    /// Give a server the data keys of all epochs.
    HandDataKeys(u64),
    /// Start a data key epoch that those who left do not know.
    StartEpoch,
    /// Seal what older data keys seal with the present one.
    ResealSecrets,
    /// Forget an older data key, with which nothing is sealed any more.
    EndEpoch(u32),
}

/// What the planner may look at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The replicated truth.
    pub state: &'a State,
    /// The group as this server sees it.
    pub status: &'a Status,
    /// Learners that have kept up for as long as it takes to be trusted with a vote.
    pub kept_up: &'a BTreeSet<u64>,
    /// This server has the data keys.
    pub has_keys: bool,
}

/// All that should be done now, in order. Nothing on a server that does not lead.
pub fn plan(view: View<'_>) -> Vec<Step> {
    if view.status.role != Role::Leader {
        return Vec::new();
    }
    let keys = view.data_keys().map(Step::HandDataKeys);
    let epoch = view.is_epoch_next().then_some(Step::StartEpoch);
    keys.into_iter().chain(view.change()).chain(epoch.or_else(|| view.rotation())).collect()
}

impl View<'_> {
    /// The one change of the group that comes next. Leaving goes before joining: who was removed should not see more than it must.
    fn change(self) -> Option<Step> {
        if self.status.joint {
            return Some(Step::FinishJoint);
        }
        self.departure().or_else(|| self.move_house()).or_else(|| self.arrival()).or_else(|| self.promotion())
    }

    fn departure(self) -> Option<Step> {
        let leaving: Vec<u64> = self.status.members.keys().copied().filter(|id| self.is_leaving(*id)).collect();
        if leaving.contains(&self.status.id) {
            // Whoever leads next takes this server out; it can't do that to itself.
            return self.successor().map(|to| Step::HandOver { to });
        }
        leaving.into_iter().find_map(|id| self.depart(id))
    }

    fn depart(self, id: u64) -> Option<Step> {
        if !self.votes(id) {
            return Some(Step::RemoveMember(id));
        }
        let remaining: BTreeSet<u64> = self.status.voters().filter(|voter| *voter != id).collect();
        let may_go = self.is_forced(id) || self.status.margin(&remaining, ANSWERS_WITHIN_MS).is_enough();
        (may_go && !remaining.is_empty()).then_some(Step::ChangeVoters(remaining))
    }

    fn successor(self) -> Option<u64> {
        transfer_leader::best(self.status, |id| !self.is_leaving(id))
    }

    /// A member says at its start where it is reached.
    fn move_house(self) -> Option<Step> {
        self.members().find_map(|(record, member)| {
            let member = member.filter(|member| member.peer.address != record.address)?;
            (!member.peer.address.is_empty() && !record.address.is_empty())
                .then(|| Step::SetAddress { server: record.id, address: record.address.clone() })
        })
    }

    fn arrival(self) -> Option<Step> {
        let mut missing = self.members().filter(|(_, member)| member.is_none());
        missing.next().map(|(record, _)| Step::AddLearner { server: record.id, address: record.address.clone() })
    }

    /// First the keys, then the vote: a voter that could open nothing might be the only one left. All that are ready at once, so
    /// that one voter becomes three without being two on the way.
    fn promotion(self) -> Option<Step> {
        let is_ready = |id: &u64| self.kept_up.contains(id) && self.state.holds_data_keys(*id);
        let ready: Vec<u64> = self.candidates().filter(is_ready).collect();
        let voters: BTreeSet<u64> = self.status.voters().chain(ready.iter().copied()).collect();
        let may_vote = !ready.is_empty() && self.status.margin(&voters, ANSWERS_WITHIN_MS).is_enough();
        may_vote.then_some(Step::ChangeVoters(voters))
    }

    /// A server that is to vote, has kept up, and lacks a data key.
    fn data_keys(self) -> Option<u64> {
        let wanted = self.members().filter(|(record, _)| record.standing == ServerStanding::Voter);
        let trusted = |id: u64| self.kept_up.contains(&id) || self.votes(id);
        let mut lacking = wanted
            .filter(|(_, member)| member.is_some())
            .map(|(record, _)| record.id)
            .filter(|id| trusted(*id) && !self.state.holds_data_keys(*id));
        if self.has_keys { lacking.next() } else { None }
    }

    /// Only after everybody who has to leave has left, and never by a leader that has to leave: it would know the new key.
    fn is_epoch_next(self) -> bool {
        let is_full = self.state.fleet.as_ref().is_none_or(|fleet| fleet.epochs.len() >= limits::EPOCHS_MAX);
        let have_left = !self.status.members.keys().any(|id| self.is_leaving(*id));
        self.has_keys && have_left && !is_full && self.state.is_epoch_due() && !self.state.epoch_holders().is_empty()
    }

    /// What an older data key still needs, oldest first. One by one, so that a new key that is due goes before.
    fn rotation(self) -> Option<Step> {
        let fleet = self.state.fleet.as_ref().filter(|_| self.has_keys)?;
        let oldest = fleet.epochs.keys().next().copied().filter(|oldest| *oldest < fleet.epoch)?;
        let is_old = |epoch: u32| epoch < fleet.epoch;
        if self.state.secrets().any(|(_, secret)| is_old(secret.sealed.epoch)) {
            return Some(Step::ResealSecrets);
        }
        Some(Step::EndEpoch(oldest))
    }

    /// Servers that are to be members, by id, with what they are in the group.
    fn members(&self) -> impl Iterator<Item = (&ServerRecord, Option<&Member>)> {
        let records = self.state.servers.values().filter(|record| record.standing.is_member());
        records.map(|record| (record, self.status.members.get(&record.id)))
    }

    /// Learners that are to vote.
    fn candidates(&self) -> impl Iterator<Item = u64> {
        let wanted = self.members().filter(|(record, _)| record.standing == ServerStanding::Voter);
        wanted.filter(|(_, member)| member.is_some_and(|member| !member.voter)).map(|(record, _)| record.id)
    }

    fn votes(self, id: u64) -> bool {
        self.status.members.get(&id).is_some_and(|member| member.voter)
    }

    /// It was removed, so recently that it is remembered or not. A member that has no record may be the founder, which has a data
    /// key and has not registered yet.
    fn is_leaving(self, id: u64) -> bool {
        match self.state.servers.get(&id) {
            Some(record) => record.standing.is_removed(),
            None => id <= self.state.last_server && !self.state.holds_any_data_key(id),
        }
    }

    fn is_forced(self, id: u64) -> bool {
        let standing = self.state.servers.get(&id).map(|record| record.standing);
        standing == Some(ServerStanding::Removed { forced: true })
    }
}

#[cfg(test)]
mod tests;
