//! What is replicated, as consensus sees it.

use muster_state::Stamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;

/// What one command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied<R, C> {
    /// The answer to whoever proposed it; a refusal is an answer.
    pub reply: R,
    /// What watchers are told, in order.
    pub changes: Vec<C>,
}

/// A deterministic state: equal commands in equal order make equal bytes.
///
/// It is a trait because the tests of consensus run over a small machine of their own, and because `muster-state` may not
/// know consensus.
pub trait Machine: Clone + Default + Send + Sync + 'static {
    /// One verb with its input. Its JSON is stored for years: see [`super::codec`].
    type Command: Clone + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// The answer to a command.
    type Reply: Clone + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What a command changed, for watchers.
    type Change: Clone + Send + Sync + 'static;

    /// Applies one command of the entry at `index`. No clock, no randomness, no I/O: it runs on every server and again at
    /// every start.
    fn apply(&mut self, index: u64, stamp: Stamp, command: Self::Command) -> Applied<Self::Reply, Self::Change>;

    /// The latest time the state has seen; zero at first. It is part of the state, so that it outlives the entry that brought
    /// it.
    fn latest(&self) -> Stamp;

    /// Adds what the changes left behind to the hash by which replicas are compared: equal states add equal bytes. A machine that
    /// has none is compared by its replies alone.
    fn trace(&self, changes: &[Self::Change], hash: &mut Sha256) {
        let _ = (changes, hash);
    }

    /// Adds a part of the state to it, whoever touched it last; other numbers, other parts, and after a while all of it.
    fn sample(&self, part: u64, hash: &mut Sha256) {
        let _ = (part, hash);
    }

    /// The whole state as bytes.
    ///
    /// # Errors
    /// A sentence, without secrets, why there are none.
    fn to_snapshot(&self) -> Result<Vec<u8>, String>;

    /// The state that gave these bytes.
    ///
    /// # Errors
    /// A sentence, without secrets, why the bytes are not a state this program knows.
    fn from_snapshot(bytes: &[u8]) -> Result<Self, String>;
}

#[cfg(test)]
pub(crate) mod toy;
