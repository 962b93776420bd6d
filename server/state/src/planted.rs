//! Bugs on purpose, to see that the tests would notice them: each is one line at the place where somebody might make it.
//!
//! Without the feature `planted-bugs` [`is_planted`] is `false` and the lines are gone from the program. With it one bug at a
//! time is chosen, for the whole process. Never enable it in a build that is kept.

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Log: acknowledges what is written, before it is synchronised.
    EarlyAck = 1,
    /// Log: of several records appended at once the first is not written.
    AppendLeavesHole,
    /// Log: entries that were truncated stay in memory and are read from there.
    StaleCache,
    /// Log: at a start everything in the log is taken for committed.
    CommittedTooFar,
    /// Snapshots: the log is purged while the snapshot that replaces it is still being saved.
    PurgeBeforeSnapshot,
    /// Snapshots: one that came from the leader is used and never saved.
    InstalledNotSaved,
    /// Snapshots: the stored replies are not part of them.
    RepliesNotInSnapshot,
    /// Reads: what this server has is passed off as the latest.
    LocalRead,
    /// Applying: reads the clock of the server that applies.
    ClockInApply,
    /// Applying: draws a number.
    ChanceInApply,
    /// Applying: the answers of one entry go to the wrong askers.
    AnswersMixedUp,
    /// Tokens: redeemed by reading first and writing after.
    SplitRedemption,
    /// Permits: granted without a look at who holds it.
    PermitGivenTwice,
    /// Requests: one that comes again is carried out again.
    RequestRepeated,
    /// Reads: the leader's own word that it leads is good enough.
    ReadWithoutMajority,
    /// Proposals: one whose outcome is unknown is said not to have been made.
    UnknownTakenForNothing,
    /// Parcels: one that was carried out before is carried out again.
    ParcelRepeated,
    /// Parcels: a server that starts again counts from one again, as if it were its first start.
    GenerationForgotten,
    /// Parcels: what was meant for one term is carried out in another.
    FenceIgnored,
}

impl Bug {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::EarlyAck,
        Self::AppendLeavesHole,
        Self::StaleCache,
        Self::CommittedTooFar,
        Self::PurgeBeforeSnapshot,
        Self::InstalledNotSaved,
        Self::RepliesNotInSnapshot,
        Self::LocalRead,
        Self::ClockInApply,
        Self::ChanceInApply,
        Self::AnswersMixedUp,
        Self::SplitRedemption,
        Self::PermitGivenTwice,
        Self::RequestRepeated,
        Self::ReadWithoutMajority,
        Self::UnknownTakenForNothing,
        Self::ParcelRepeated,
        Self::GenerationForgotten,
        Self::FenceIgnored,
    ];
}

#[cfg(feature = "planted-bugs")]
static CHOSEN: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

/// Chooses the bug of this process, or none.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Option<Bug>) {
    CHOSEN.store(bug.map_or(0, |bug| bug as u8), std::sync::atomic::Ordering::Relaxed);
}

/// Whether that bug is to be made here.
#[cfg(feature = "planted-bugs")]
#[must_use]
pub fn is_planted(bug: Bug) -> bool {
    CHOSEN.load(std::sync::atomic::Ordering::Relaxed) == bug as u8
}

/// Whether that bug is to be made here: never, in a program.
#[cfg(not(feature = "planted-bugs"))]
#[must_use]
pub const fn is_planted(_: Bug) -> bool {
    false
}
