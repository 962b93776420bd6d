//! Moments of a group, for tests of who decides by them.

use std::collections::BTreeMap;

use crate::consensus::{Member, Peer, Role, ServerId, Status};

/// A member as the leader sees it.
pub(crate) fn mk_member(
    id: ServerId,
    voter: bool,
    lag_entries: Option<u64>,
    silence_ms: Option<u64>,
) -> (ServerId, Member) {
    let peer = Peer { address: format!("10.0.0.{id}:9446") };
    (id, Member { peer, voter, lag_entries, silence_ms })
}

/// A group as its leader `id` sees it, in term 3 at index 100.
pub(crate) fn mk_status(id: ServerId, members: impl IntoIterator<Item = (ServerId, Member)>) -> Status {
    Status {
        id,
        role: Role::Leader,
        term: 3,
        leader: Some(id),
        last_log_index: Some(100),
        applied_index: Some(100),
        snapshot_index: None,
        purged_index: None,
        quorum_ack_age_ms: Some(50),
        members: members.into_iter().collect::<BTreeMap<_, _>>(),
        joint: false,
        log_syncs: 0,
        log_bytes: 0,
    }
}
