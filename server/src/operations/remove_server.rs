//! Takes a server out of the fleet, after a look at whether those that remain can go on.

use std::collections::BTreeSet;

use muster_state::{Request, State, command::RemoveServer, record::ServerStanding};

use super::{OperationError, Unsealed};
use crate::ledger::Status;

/// A voter that has not answered for this long is not counted on: ten times a slow heartbeat.
pub const ANSWERS_WITHIN_MS: u64 = 3_000;

/// Removes a server for a caller whose retries are done once. `seen` is the group as its leader sees it; nobody else knows who
/// answers.
///
/// # Errors
/// [`OperationError::NotNow`] if too few would remain, unless it is done by force.
pub async fn run(server: &Unsealed, seen: &Status, request: Request, verb: RemoveServer) -> Result<(), OperationError> {
    if !verb.force {
        server.ledger.read(|state| check_remaining(state, seen, verb.server))?;
    }
    server.ledger.propose_for(request, verb).await?;
    Ok(())
}

/// The voters that remain are enough to go on, now.
///
/// # Errors
/// [`OperationError::NotNow`] with the figures.
pub fn check_remaining(state: &State, status: &Status, leaving: u64) -> Result<(), OperationError> {
    let is_removed = |id: &u64| state.servers.get(id).is_some_and(|server| server.standing.is_removed());
    let remaining: BTreeSet<u64> = status.voters().filter(|id| *id != leaving && !is_removed(id)).collect();
    let votes = status.members.get(&leaving).is_some_and(|member| member.voter);
    let is_gone = state.servers.get(&leaving).is_some_and(|server| match server.standing {
        // Refusing one that asks, or repeating a removal, takes nothing away.
        ServerStanding::Pending | ServerStanding::Removed { .. } => true,
        ServerStanding::Learner | ServerStanding::Voter => false,
    });
    let margin = status.margin(&remaining, ANSWERS_WITHIN_MS);
    if !votes || is_gone || margin.is_enough() {
        return Ok(());
    }
    Err(OperationError::NotNow(format!(
        "without server {leaving} only {} of {} voters would answer, and {} are needed: bring the others back first, or \
         remove those that are gone for good before it (`muster server list`); --force does it all the same",
        margin.answering,
        remaining.len(),
        margin.needed,
    )))
}

#[cfg(test)]
mod tests {
    use muster_state::{Bytes, Digest, command::RecordServer, record::ServerUrls};

    use super::*;
    use crate::ledger::testing::{mk_member, mk_status};

    fn mk_state() -> State {
        let mut state = State::default();
        let key = crate::seal::SealKey::from_bytes(&[7; 32]).unwrap();
        state.apply_verb(1, crate::operations::found_fleet::make(&key, 1, 1_795_305_600_000).unwrap()).unwrap();
        let founder = RecordServer {
            server: 1,
            key: Digest([1; 32]),
            sealing_key: Bytes(vec![1; 32]),
            address: "10.0.0.1:9446".into(),
            urls: ServerUrls::default(),
            version: "0.1.0".into(),
            generation: 1,
        };
        state.apply_verb(1, founder).unwrap();
        state
    }

    fn refused(status: &Status, leaving: u64) -> Option<String> {
        check_remaining(&mk_state(), status, leaving).err().map(|error| error.to_string())
    }

    #[test]
    fn a_voter_goes_only_if_those_that_remain_are_a_majority_that_answers() {
        let answers = |id, silence_ms| mk_member(id, true, Some(0), silence_ms);
        let all = mk_status(1, [answers(1, Some(0)), answers(2, Some(100)), answers(3, Some(100))]);
        assert_eq!(refused(&all, 3), None);
        let one_is_down = mk_status(1, [answers(1, Some(0)), answers(2, Some(9_000)), answers(3, Some(100))]);
        assert_eq!(refused(&one_is_down, 2), None, "the one that is down may go");
        let why = refused(&one_is_down, 3).unwrap();
        assert!(why.contains("only 1 of 2 voters would answer, and 2 are needed"), "{why}");
        let unheard = mk_status(1, [answers(1, Some(0)), answers(2, None), answers(3, Some(100))]);
        assert!(refused(&unheard, 3).is_some(), "one that was never heard of is not counted on");
    }

    #[test]
    fn a_learner_or_a_stranger_goes_at_any_time() {
        let status = mk_status(
            1,
            [
                mk_member(1, true, Some(0), Some(0)),
                mk_member(2, true, Some(0), Some(9_000)),
                mk_member(3, false, None, None),
            ],
        );
        assert_eq!(refused(&status, 3), None);
        assert_eq!(refused(&status, 9), None);
    }
}
