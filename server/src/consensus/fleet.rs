//! The fleet's state as the machine of consensus, and its verbs with their typed replies.

use std::time::Duration;

use muster_state::planted::{Bug, is_planted};
use muster_state::{Change, Command, Refusal, Reply, Request, Stamp, State, VerbOf};
use sha2::Sha256;

use super::clock::{Clock as _, SystemClock};
use super::error::ProposeError;
use super::handle::Consensus;
use super::machine::{Applied, Machine};
use crate::process;

/// Consensus on the fleet.
pub type Fleet = Consensus<State>;

impl Machine for State {
    type Command = Command;
    type Reply = Result<Reply, Refusal>;
    type Change = Change;

    fn apply(&mut self, _index: u64, stamp: Stamp, command: Command) -> Applied<Self::Reply, Change> {
        let muster_state::Applied { reply, changes } = Self::apply(self, planted_time(stamp), command);
        Applied { reply, changes }
    }

    fn latest(&self) -> Stamp {
        Stamp { now_ms: self.now_ms }
    }

    fn trace(&self, changes: &[Change], hash: &mut Sha256) {
        Self::trace(self, changes, hash);
    }

    fn sample(&self, part: u64, hash: &mut Sha256) {
        Self::sample(self, part, hash);
    }

    fn to_snapshot(&self) -> Result<Vec<u8>, String> {
        Self::to_snapshot(self).map_err(|error| error.to_string())
    }

    fn from_snapshot(bytes: &[u8]) -> Result<Self, String> {
        Self::from_snapshot(bytes).map_err(|error| error.to_string())
    }
}

/// The entry's time, unless a bug is planted.
fn planted_time(stamp: Stamp) -> Stamp {
    if is_planted(Bug::ClockInApply) {
        return Stamp { now_ms: SystemClock.now_ms() };
    }
    let chance = process::simulated().filter(|_| is_planted(Bug::ChanceInApply));
    chance.map_or(stamp, |process| Stamp { now_ms: stamp.now_ms + process.random() % 2 })
}

impl Fleet {
    /// Has a verb carried out and gives its typed reply; a refusal is the state's answer, an error is none. `request` tells a
    /// retry apart from a new request, where that matters; `fence` is the only term it may be carried out in.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub async fn perform<V: VerbOf>(
        &self,
        fence: Option<u64>,
        request: Option<Request>,
        verb: V,
        within: Duration,
    ) -> Result<Result<V::Reply, Refusal>, ProposeError> {
        let id = request.as_ref().map(|request| request.id.clone()).unwrap_or_default();
        let reply = self.propose_fenced(fence, Command { request, verb: verb.into() }, within).await?;
        // A stored reply of another verb comes back when a request id is used for two verbs with the same body.
        Ok(reply.and_then(|reply| V::reply(reply).ok_or(Refusal::RequestReused(id))))
    }
}
