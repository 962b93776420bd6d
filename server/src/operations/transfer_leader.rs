//! The leader steps down for another voter: before its machine is maintained, or is taken away.

use muster_state::State;

use super::{OperationError, Unsealed, leading, remove_server::ANSWERS_WITHIN_MS};
use crate::ledger::Status;

/// Hands leadership of `from` (of whoever leads, if not said) to a voter, or to the one that has kept up best. Says who
/// leads now. Done already if another than `from` leads, so that a retry after a lost answer hands nothing back.
///
/// # Errors
/// [`OperationError::NotHere`] on a server that does not lead.
pub async fn run(server: &Unsealed, from: Option<u64>, to: Option<u64>) -> Result<Status, OperationError> {
    let status = server.ledger.status();
    let has_moved = from.is_some() && status.leader.is_some() && status.leader != from;
    if has_moved || (to.is_some() && status.leader == to) {
        return Ok(status);
    }
    let status = leading(&server.ledger)?;
    let to = match to {
        Some(to) => to,
        None => server.ledger.read(|state| best(&status, |id| is_staying(state, id))).ok_or_else(|| {
            let why = "there is no other voter that answers and has kept up; see `muster server list`";
            OperationError::NotNow(why.into())
        })?,
    };
    server.ledger.hand_over_leadership(to).await?;
    Ok(server.ledger.status())
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
