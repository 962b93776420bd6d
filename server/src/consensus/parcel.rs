//! Commands on their way from the server that took them to the leader.

use std::sync::Arc;

use super::codec::Rendered;
use super::machine::Machine;
use super::types::ServerId;

/// Which parcel it is, among all that were ever sent: the log carries a parcel out once, however often it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The server that took the commands.
    pub server: ServerId,
    /// Counts that server's starts, so that numbers of an earlier one mean nothing now.
    pub generation: u64,
    /// The parcel's number within the generation, from one.
    pub sequence: u64,
    /// The lowest number that the server still waits for: answers below it may be forgotten.
    pub floor: u64,
}

/// Commands that one server took and that travel together. Cheap to clone.
pub struct Parcel<M: Machine> {
    /// Which one it is.
    pub origin: Origin,
    /// The commands, in the order in which they apply; never none.
    pub commands: Arc<[Rendered<M>]>,
}

impl<M: Machine> Clone for Parcel<M> {
    fn clone(&self) -> Self {
        Self { origin: self.origin, commands: self.commands.clone() }
    }
}

// A command may hold what nobody may read in a log line.
impl<M: Machine> std::fmt::Debug for Parcel<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Parcel({:?}, {} commands)", self.origin, self.commands.len())
    }
}

/// What the leader says of a parcel that is in its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// The entry by which it is applied at the latest. The replies come with the log: whoever sent the parcel finds them in its
    /// own state, and so reads what it wrote.
    pub index: u64,
}
