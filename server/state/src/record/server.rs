//! Muster's own servers: who asked to become one, who was let in, and what each is to be in the Raft group.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Certificate;
use crate::{Bytes, Digest, TokenId};

/// What a server is to be. What it is in the Raft group at the moment follows, by the leader's hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerStanding {
    /// It has asked, and waits for an operator.
    Pending,
    /// It receives the log, serves agents, and holds no data keys.
    Learner,
    /// It is to vote, and to hold the data keys.
    Voter,
    /// It is to leave, or has left, for good: its id is never used again.
    Removed {
        /// An operator accepts that the voters that remain may not be enough to go on.
        forced: bool,
    },
}

impl ServerStanding {
    /// It is, or is to be, a member of the Raft group.
    pub fn is_member(self) -> bool {
        match self {
            Self::Learner | Self::Voter => true,
            Self::Pending | Self::Removed { .. } => false,
        }
    }

    /// It was taken out of the fleet.
    pub fn is_removed(self) -> bool {
        match self {
            Self::Removed { .. } => true,
            Self::Pending | Self::Learner | Self::Voter => false,
        }
    }
}

impl fmt::Display for ServerStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Learner => "learner",
            Self::Voter => "voter",
            Self::Removed { .. } => "removed",
        })
    }
}

/// Where others reach a server, listener by listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerUrls {
    /// Enrolment (9443).
    pub enrolment: Vec<String>,
    /// Nodes (9444).
    pub nodes: Vec<String>,
    /// Operators (9445).
    pub operators: Vec<String>,
}

/// One of Muster's servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRecord {
    /// Its number in the Raft group.
    pub id: u64,
    /// SHA-256 of its identity key's SPKI: what an operator compares.
    pub key: Digest,
    /// PKCS#10, DER; empty for the founder, which signed for itself.
    pub csr: Bytes,
    /// HPKE public key to which data keys are sealed; empty while not known.
    pub sealing_key: Bytes,
    /// `host:port` of its peer listener.
    pub address: String,
    /// Its other listeners.
    pub urls: ServerUrls,
    /// Version of its program.
    pub version: String,
    /// How often its data directory was opened, as it said last; 0: it never ran as a member.
    pub generation: u64,
    /// What it is to be.
    pub standing: ServerStanding,
    /// When it asked first, milliseconds since the Unix epoch.
    pub requested_ms: u64,
    /// When it asked last, or started last.
    pub seen_ms: u64,
    /// When its standing changed last.
    pub since_ms: u64,
    /// Address it asked from; empty for the founder.
    pub from: String,
    /// The token it came with.
    pub token: Option<TokenId>,
    /// Its certificate, once issued. Not secret: it is good only with the key that never left the server.
    pub certificate: Option<Certificate>,
    /// Newest data key epoch it was ever given; 0: none. Kept when it is removed: that epoch has to end then.
    pub knew_epoch: u32,
}

/// Lets one server ask to join. Only its hash is known here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerToken {
    /// Public part.
    pub id: TokenId,
    /// SHA-256 of the whole token.
    pub sha256: Digest,
    /// When it was made.
    pub created_ms: u64,
    /// When it runs out.
    pub expires_ms: u64,
    /// The server that used it.
    pub used_by: Option<u64>,
    /// How often somebody else came with it after it was used or had run out.
    pub misuses: u32,
}

impl ServerToken {
    /// A server may ask to join with it.
    pub fn is_live(&self, now_ms: u64) -> bool {
        self.used_by.is_none() && now_ms < self.expires_ms
    }
}
