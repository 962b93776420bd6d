//! What the door for peers must know of the fleet's servers.

use crate::consensus::types::ServerId;

/// What is known of a server at this moment, from Raft's membership and from the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// It belongs to the Raft group.
    pub member: bool,
    /// It votes.
    pub votes: bool,
    /// An operator let it in, or it founded the fleet; it may not have joined the group yet.
    pub approved: bool,
    /// It was taken out for good.
    pub removed: bool,
    /// The newest start that it has told of; 0: none.
    pub generation: u64,
}

/// Looks servers up. Called for each greeting, parcel and relayed question: it must be quick.
pub trait Roster: Send + Sync + 'static {
    /// What is known of that server.
    fn standing(&self, id: ServerId) -> Standing;
}
