use serde::{Deserialize, Serialize};

use crate::{Refusal, State, state::Context};

/// Accepts the proposer's time although it is far ahead of the state's, by an operator's word: after the fleet was
/// off for very long, or was founded with a clock that stood in the past. The stamp of this command is the time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptTime {}

impl AcceptTime {
    #[expect(clippy::unnecessary_wraps, reason = "all verbs have one shape")]
    pub(super) fn apply(self, state: &mut State, _: Context) -> Result<(), Refusal> {
        state.event(true, "TimeAccepted", "an operator accepted the servers' time".into(), None, None);
        Ok(())
    }
}
