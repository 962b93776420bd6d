//! Every bound of the replicated state, with its reason.

/// Machines that wait for an operator, in all. A flood of unknown machines must not fill the state; ten thousand
/// machines that boot at once still fit.
pub const PENDING_MAX: usize = 10_000;
/// Machines that wait for an operator, per remote address. A rack may stand behind one address.
pub const PENDING_PER_ADDRESS_MAX: usize = 512;
/// How long a machine may wait unseen before its entry is dropped: 7 days.
pub const PENDING_TTL_MS: u64 = 7 * 24 * 3600 * 1000;
/// Clusters of a fleet.
pub const CLUSTERS_MAX: usize = 1_000;
/// Pools of a cluster.
pub const POOLS_MAX: usize = 64;
/// Named nodes of a pool.
pub const NAMED_NODES_MAX: usize = 5_000;
/// Enrolment tokens in all, spent and revoked ones included until they are swept.
pub const ENROLMENT_TOKENS_MAX: usize = 50_000;
/// An enrolment token that is spent, revoked or expired is forgotten after this: 30 days, so that "used twice"
/// and "expired" can be told apart for as long as anybody asks.
pub const ENROLMENT_TOKEN_KEPT_MS: u64 = 30 * 24 * 3600 * 1000;
/// Events kept; older ones fall off. About 300 bytes each.
pub const EVENTS_MAX: usize = 10_000;
/// Stored replies for retries.
pub const REPLIES_MAX: usize = 10_000;
/// How long a retry is recognised: an hour is far beyond any client's patience.
pub const REPLY_KEPT_MS: u64 = 3600 * 1000;
/// Phases remembered per node.
pub const TIMELINE_MAX: usize = 128;
/// Longest text taken from outside into a record (a message, a reason), bytes.
pub const TEXT_MAX: usize = 2048;
/// Errands kept after they are done, per cluster, for `describe`.
pub const DONE_ERRANDS_KEPT: usize = 64;
/// How often a join is tried before an operator is asked.
pub const ATTEMPTS_MAX: u32 = 5;
/// A stamp may be this far ahead of the last one before it is refused as a clock that jumped: one year.
pub const STAMP_JUMP_MAX_MS: u64 = 366 * 24 * 3600 * 1000;

/// Cuts text from outside to [`TEXT_MAX`] bytes at a character boundary.
pub fn clip(text: &str) -> String {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
