use crate::{Refusal, State, limits, record::Standing};

/// There is room for one more machine from that address that waits for an operator.
pub(super) fn check(state: &State, from: &str) -> Result<(), Refusal> {
    let (mut all, mut same) = (0, 0);
    for node in state.nodes.values() {
        if let Standing::Pending { from: address, .. } = &node.standing {
            all += 1;
            same += usize::from(address == from);
        }
    }
    if all >= limits::PENDING_MAX {
        return Err(Refusal::Full { what: "machines that wait for approval".into(), limit: limits::PENDING_MAX as u64 });
    }
    if same >= limits::PENDING_PER_ADDRESS_MAX {
        let what = format!("machines from {from} that wait for approval");
        return Err(Refusal::Full { what, limit: limits::PENDING_PER_ADDRESS_MAX as u64 });
    }
    Ok(())
}
