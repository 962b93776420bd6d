//! Who is who among servers: Raft's membership, and the records that operators decide on.

use muster_state::record::ServerStanding;

use crate::{
    ledger::Ledger,
    peers::roster::{Roster, Standing},
};

impl Roster for Ledger {
    fn standing(&self, id: u64) -> Standing {
        let member = self.status().members.get(&id).map(|member| member.voter);
        let record = self.read(|state| state.servers.get(&id).map(|server| (server.standing, server.generation)));
        let (approved, removed, generation) = match record {
            Some((ServerStanding::Learner | ServerStanding::Voter, generation)) => (true, false, generation),
            Some((ServerStanding::Removed { .. }, generation)) => (false, true, generation),
            Some((ServerStanding::Pending, _)) | None => (false, false, 0),
        };
        Standing { member: member.is_some(), votes: member.unwrap_or_default(), approved, removed, generation }
    }
}
