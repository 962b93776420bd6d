//! Every bound of the replicated state, with its reason.

/// Machines that wait for an operator, in all. A flood of unknown machines must not fill the state; ten thousand
/// machines that boot at once still fit.
pub const PENDING_MAX: usize = 10_000;
/// Machines that wait for an operator, per remote address. A rack may stand behind one address.
pub const PENDING_PER_ADDRESS_MAX: usize = 512;
/// How long a machine may wait unseen before its entry is dropped: 7 days.
pub const PENDING_TTL_MS: u64 = 7 * 24 * 3600 * 1000;
/// How long a denial is remembered: 30 days. Until then the key gets the same answer; after that it may queue again.
pub const DENIED_KEPT_MS: u64 = 30 * 24 * 3600 * 1000;
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
/// Machines one enrolment token may admit: each use is remembered, so that "by whom" can be answered.
pub const TOKEN_USES_MAX: u32 = 100_000;
/// Bootstrap tokens in all, deleted ones included until they are swept: one per node of the largest fleet, and as
/// many again that are ending.
pub const BOOTSTRAP_TOKENS_MAX: usize = 200_000;
/// Misuses of one enrolment token that are told one by one; further ones are only counted, so that a thief can't
/// push other events out.
pub const MISUSES_TOLD_MAX: u32 = 16;
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
/// Tokens in one errand: its objects must fit one message to the custodian.
pub const ERRAND_TOKENS_MAX: usize = 500;
/// An errand that its custodian has left alone for this long may be given to another: 5 minutes, many times what
/// kubectl or `upload-certs` take.
pub const ERRAND_PATIENCE_MS: u64 = 5 * 60 * 1000;
/// The same for certificate requests: a look and an answer take kubectl less than a second each.
pub const REQUESTS_PATIENCE_MS: u64 = 45 * 1000;
/// Pending certificate requests that one report tells of: the others follow in the next.
pub const REQUESTS_SEEN_MAX: usize = 32;
/// Answers to certificate requests in one errand: each is a run of kubectl.
pub const REQUESTS_CONCLUDED_MAX: usize = 16;
/// Events in a minute about certificate requests that came with no token of a machine's: kubelets and strangers may ask without end,
/// and must not drive all else out of the events.
pub const REQUESTS_TOLD_MAX: u32 = 60;
/// Pending certificate requests of a detached cluster that are left to others and not told of again.
pub const REQUESTS_PASSED_MAX: usize = 512;
/// Nodes that a custodian is asked about in one look: those of pending requests that came with lines for one name.
pub const REQUESTS_NODES_MAX: usize = 64;
/// Entries of a list in what a machine claims or reports (MAC addresses, labels, findings, …): machines with many
/// virtual functions have hundreds of MAC addresses.
pub const CLAIMS_MAX: usize = 512;
/// Longest single claim (a UUID, a host name, a label), bytes.
pub const CLAIM_MAX: usize = 256;
/// Longest certificate request, bytes: an RSA-4096 one is 1.7 KiB.
pub const CSR_MAX: usize = 8 * 1024;
/// Longest caller or id of a request, bytes: a SPIFFE id or a UUID.
pub const REQUEST_TEXT_MAX: usize = 512;
/// Servers of a fleet, those that wait for approval included: a hundred thousand nodes are a handful of relays.
pub const SERVERS_MAX: usize = 64;
/// Servers that vote: each more slows every command down, and nobody has need of more than three failures at once.
pub const VOTERS_MAX: usize = 7;
/// Servers that wait for an operator. Each cost a token that an operator made.
pub const PENDING_SERVERS_MAX: usize = 16;
/// Removed servers that are remembered, so that one that comes back is told so; the oldest are forgotten. Their
/// numbers are never used again all the same.
pub const REMOVED_SERVERS_KEPT: usize = 256;
/// Server tokens, spent and expired ones included until they are swept.
pub const SERVER_TOKENS_MAX: usize = 256;
/// URLs of one listener of a server.
pub const SERVER_URLS_MAX: usize = 16;
/// An X25519 public key, bytes.
pub const SEALING_KEY_BYTES: usize = 32;
/// A data key, wrapped or sealed, bytes: about 100 in each form.
pub const DATA_KEY_COPY_MAX: usize = 512;
/// Data key epochs whose keys are kept: one per removed server or rotation until what it sealed is sealed anew.
pub const EPOCHS_MAX: usize = 256;
/// How often a join is tried before an operator is asked.
pub const ATTEMPTS_MAX: u32 = 5;
/// A stamp may be this far ahead of the last one before it is refused as a clock that jumped: one year.
pub const STAMP_JUMP_MAX_MS: u64 = 366 * 24 * 3600 * 1000;

/// Windows of the log whose comparison between voters is kept: a voter that is slow by several still finds out.
pub const COMPARISONS_KEPT: usize = 8;

/// Secrets sealed anew in one command: the key of an RSA-4096 authority is 4.5 KiB in it, and others must get their turn.
pub const RESEALED_MAX: usize = 32;

/// Nodes that one command tells of: about 300 bytes each.
pub const OBSERVED_MAX: usize = 500;

/// Names, groups, usages and the like in one certificate request of a cluster: a kubelet with ten addresses has a third of it.
pub const CSR_TEXTS_MAX: usize = 64;

/// Members of one etcd: nine is the most anybody runs.
pub const ETCD_MEMBERS_MAX: usize = 64;

/// URLs of one member of etcd.
pub const ETCD_URLS_MAX: usize = 8;

/// Addresses of a machine at which its etcd may listen: the one it advertises is among the first.
pub const ETCD_ADDRESSES_MAX: usize = 64;

/// Certificate requests remembered per bootstrap token, and of a node's own server.
pub const REQUESTS_KEPT: usize = 4;
/// How long a held certificate request leaves its token alone after its machine has said that its kubelet starts: kubelets ask
/// within a second or two, and have a watch open a moment later. Milliseconds.
pub const HOLD_SETTLES_MS: u64 = 3_000;
/// After this nobody gets in with a bootstrap token whose Secret is gone: API servers remember for ten seconds whom a token stands
/// for (kube-apiserver, `pkg/kubeapiserver/options/authentication.go`, `TokenSuccessCacheTTL`), and hear of the deletion by a
/// watch, for which there are three more. Milliseconds.
pub const TOKEN_FORGOTTEN_MS: u64 = 13_000;

/// `kubeadm-certs` lives two hours; uploaded again well before, while control planes wait or join. Milliseconds.
pub const CERTIFICATES_FRESH_MS: u64 = 90 * 60 * 1000;

/// A kubeconfig with one server and one user, sealed, bytes: with a bundle of authorities and an RSA-4096 key it has 20 KiB.
pub const CREDENTIALS_MAX: usize = 64 * 1024;

/// The slowest join by kubeadm's own limits takes 23 minutes: a token that somebody needs is renewed when it has less than this.
pub const JOIN_TAKES_MS: u64 = 25 * 60 * 1000;

/// Cuts text from outside to [`TEXT_MAX`] bytes at a character boundary.
pub fn clip(text: &str) -> String {
    clip_to(text, TEXT_MAX)
}

/// Cuts text to at most `max` bytes at a character boundary.
pub fn clip_to(text: &str, max: usize) -> String {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(clip_to("aé", 2), "a");
        assert_eq!(clip_to("aé", 3), "aé");
        assert_eq!(clip(&"é".repeat(TEXT_MAX)).len(), TEXT_MAX);
    }
}
