//! Where an agent is attached.

use serde::{Deserialize, Serialize};

/// Which stream of which server an agent is attached by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The server.
    pub server: u64,
    /// Its start, as it counts them: none of an earlier one's streams is left.
    pub start: u64,
    /// Tells the streams of that start apart.
    pub stream: u64,
}

impl Attachment {
    /// It is of the same start of the same server as the other, and began before it.
    pub fn is_older_than(&self, other: &Self) -> bool {
        (self.server, self.start) == (other.server, other.start) && self.stream < other.stream
    }
}
