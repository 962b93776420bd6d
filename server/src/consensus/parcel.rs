//! Commands on their way from the server that took them to the leader, and what the log says of them.

use std::sync::Arc;

use super::batcher::{COMMAND_BYTES_MAX, ENTRY_BYTES_TARGET, ENTRY_COMMANDS_MAX};
use super::error::ProposeError;
use super::machine::Machine;
use super::types::ServerId;

/// How far a server's numbers may run ahead of the lowest one it still waits for. It bounds what the state remembers of each
/// server.
pub const WINDOW: u64 = 64;

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
    pub(super) commands: Arc<[M::Command]>,
    /// What `commands` look like in an entry: their JSON, with commas between. Only `codec` makes it.
    pub(super) json: Arc<str>,
}

impl<M: Machine> Parcel<M> {
    /// The commands, in the order in which they apply; never none.
    #[must_use]
    pub fn commands(&self) -> &[M::Command] {
        &self.commands
    }

    /// Whether it keeps to the bounds of parcels: those of an entry.
    pub(super) fn is_bounded(&self) -> bool {
        let alone = self.commands.len() == 1 && self.bytes() <= COMMAND_BYTES_MAX;
        alone || self.commands.len() <= ENTRY_COMMANDS_MAX && self.bytes() <= ENTRY_BYTES_TARGET
    }

    /// Bytes that it adds to an entry, but for its heading.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.json.len()
    }
}

impl<M: Machine> Clone for Parcel<M> {
    fn clone(&self) -> Self {
        Self { origin: self.origin, commands: self.commands.clone(), json: self.json.clone() }
    }
}

// A command may hold what nobody may read in a log line.
impl<M: Machine> std::fmt::Debug for Parcel<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Parcel({:?}, {} commands)", self.origin, self.commands.len())
    }
}

/// What an entry says of a parcel beside its commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heading {
    /// Which parcel it is.
    pub origin: Origin,
    /// If set, the commands are carried out only in an entry of this term: they were meant by its leader.
    pub fence: Option<u64>,
}

/// What became of a parcel when its entry was applied. Every replica comes to the same.
pub(super) enum Outcome<M: Machine> {
    /// It is carried out, now or by an earlier entry.
    Done(Arc<[M::Reply]>),
    /// Its term is over; nothing was carried out.
    Fenced,
    /// Nobody waits for it, or its server is no member or has started anew since; nothing was carried out.
    Dead,
}

impl<M: Machine> Outcome<M> {
    /// The replies, or what those who wait are told instead.
    pub(super) fn replies(&self) -> Result<&[M::Reply], ProposeError> {
        match self {
            Self::Done(replies) => Ok(replies),
            Self::Fenced => Err(ProposeError::Fenced),
            Self::Dead => Err(ProposeError::Unavailable),
        }
    }
}

/// What the leader says of a parcel that is in its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// The entry by which it is applied at the latest. The replies come with the log: whoever sent the parcel finds them in its
    /// own state, and so reads what it wrote.
    pub index: u64,
}
