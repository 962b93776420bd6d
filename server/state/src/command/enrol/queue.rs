use crate::{Refusal, State, limits};

/// There is room for one more machine from that address that waits for an operator.
pub(super) fn check(state: &State, from: &str) -> Result<(), Refusal> {
    let (all, same) = state.index.queued(from);
    if all >= limits::PENDING_MAX {
        return Err(Refusal::Full { what: "machines that wait for approval".into(), limit: limits::PENDING_MAX as u64 });
    }
    if same >= limits::PENDING_PER_ADDRESS_MAX {
        let what = format!("machines from {from} that wait for approval");
        return Err(Refusal::Full { what, limit: limits::PENDING_PER_ADDRESS_MAX as u64 });
    }
    Ok(())
}
