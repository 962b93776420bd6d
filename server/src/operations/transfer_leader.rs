//! The leader steps down for another voter: before its machine is maintained, or is taken away.

use muster_state::State;

use super::{OperationError, remove_server::ANSWERS_WITHIN_MS};
use crate::ledger::Status;

/// Nothing is left to do: another than `from` leads by now, so that a retry after a lost answer hands nothing back, or `to` does.
pub fn is_done(status: &Status, from: Option<u64>, to: Option<u64>) -> bool {
    let has_moved = from.is_some() && status.leader.is_some() && status.leader != from;
    has_moved || (to.is_some() && status.leader == to)
}

/// Who is to lead: the one that was named, or the voter that has kept up best. `seen` is the group as its leader sees it.
///
/// # Errors
/// [`OperationError::NotNow`] if there is nobody.
pub fn choose(state: &State, seen: &Status, to: Option<u64>) -> Result<u64, OperationError> {
    let found = to.or_else(|| best(seen, |id| is_staying(state, id)));
    found.ok_or_else(|| {
        let why = "there is no other voter that answers and has kept up; see `muster server list`";
        OperationError::NotNow(why.into())
    })
}

fn is_staying(state: &State, id: u64) -> bool {
    state.servers.get(&id).is_none_or(|server| !server.standing.is_removed())
}

/// The voter that is least behind among those that answer and may lead; of equal ones the first.
pub fn best(status: &Status, may_lead: impl Fn(u64) -> bool) -> Option<u64> {
    let is_other = |id: u64| id != status.id && may_lead(id);
    let others = status.members.iter().filter(|(id, member)| is_other(**id) && member.voter);
    let ready = others.filter(|(_, member)| member.silence_ms.is_some_and(|ms| ms <= ANSWERS_WITHIN_MS));
    let ranked = ready.filter_map(|(id, member)| Some((member.lag_entries?, *id)));
    ranked.min().map(|(_, id)| id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::testing::{mk_member, mk_status};

    #[test]
    fn the_voter_that_answers_and_is_least_behind_takes_over() {
        let status = mk_status(
            1,
            [
                mk_member(1, true, None, Some(0)),
                mk_member(2, true, Some(7), Some(50)),
                mk_member(3, true, Some(0), Some(9_000)),
                mk_member(4, true, Some(7), Some(50)),
                mk_member(5, false, Some(0), Some(50)),
                mk_member(6, true, None, Some(50)),
            ],
        );
        assert_eq!(best(&status, |_| true), Some(2));
        assert_eq!(best(&status, |id| id != 2), Some(4));
        assert_eq!(best(&mk_status(1, [mk_member(1, true, None, Some(0))]), |_| true), None);
    }
}
