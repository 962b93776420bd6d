//! What can go wrong, by what the caller can do about it.

use openraft::error::Fatal;

use super::codec;
use super::types::ServerId;
use crate::storage;

/// Why consensus could not be started. The server must not serve.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk cannot be used, or what lies on it must not be.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// What lies on the disk was written by another version or is not ours.
    #[error(transparent)]
    Stored(#[from] codec::Error),
    /// A setting makes no sense.
    #[error("the settings of consensus make no sense: {0}")]
    Settings(String),
    /// openraft did not start.
    #[error("consensus did not start")]
    Core(#[source] Box<Fatal<ServerId>>),
}

/// Why a command got no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nobody leads, and nobody did until the time was up; nothing was proposed.
    #[error("no server leads: a majority of the voters cannot reach each other")]
    NoLeader,
    /// It was meant for a term that is over; nothing was carried out.
    #[error("the term in which this was to be done is over")]
    Fenced,
    /// Too many commands wait; nothing was proposed.
    #[error("too many commands are waiting")]
    Overloaded,
    /// This server is stopping; nothing was proposed.
    #[error("this server is stopping")]
    Unavailable,
    /// The command does not fit an entry; nothing was proposed.
    #[error("the command has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The command has no stored form, which is a bug in it; nothing was proposed.
    #[error("the command cannot be stored")]
    Malformed,
    /// There was no answer in time. The command may have been applied, or may be yet.
    #[error("no answer in time: whether the command was carried out is not known")]
    TimedOut,
}

impl ProposeError {
    /// True if the same command may be sent again as it is, here or to another server. After [`ProposeError::TimedOut`] only a
    /// command that its state machine tells apart from a repeat may.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        match self {
            Self::NoLeader | Self::Overloaded | Self::Unavailable => true,
            Self::Fenced | Self::TooLarge { .. } | Self::Malformed | Self::TimedOut => false,
        }
    }
}

/// Why a read is not known to be the latest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Another server leads.
    #[error("this server does not lead{}", leader.map(|id| format!("; server {id} does")).unwrap_or_default())]
    NotLeader {
        /// Who does, as far as this server knows.
        leader: Option<ServerId>,
    },
    /// This server is stopping.
    #[error("this server is stopping")]
    Unavailable,
    /// A majority did not confirm in time that this server still leads.
    #[error("no majority confirmed in time that this server leads")]
    TimedOut,
}

/// Why the leader, or who was taken for it, did not carry a parcel out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    /// Another server leads; nothing was proposed.
    #[error("this server does not lead{}", leader.map(|id| format!("; server {id} does")).unwrap_or_default())]
    NotLeader {
        /// Who does, as far as this server knows.
        leader: Option<ServerId>,
    },
    /// Too many parcels wait; nothing was proposed.
    #[error("too many commands are waiting")]
    Overloaded,
    /// This server is stopping; nothing was proposed.
    #[error("this server is stopping")]
    Unavailable,
    /// The parcel is larger than parcels are, or of another server than its sender; nothing was proposed.
    #[error("the parcel is not one that its sender may send")]
    Malformed,
    /// It was proposed, but leadership was lost or time ran out: it may be applied, or may be yet. Send it again.
    #[error("whether the commands were carried out is not known")]
    Unknown,
}
