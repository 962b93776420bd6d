use muster_state::{
    Bytes, Digest,
    command::{ApproveServer, CreateServerToken, PromoteServer, RecordServer, RemoveServer, RequestServer},
    record::ServerUrls,
};

use super::*;
use crate::{
    ledger::testing::{mk_member, mk_status},
    operations::found_fleet,
    seal::SealKey,
};

const NOW_MS: u64 = 1_795_305_600_000;

fn record(server: u8) -> RecordServer {
    RecordServer {
        server: server.into(),
        key: Digest([server; 32]),
        sealing_key: Bytes(vec![server; 32]),
        address: format!("10.0.0.{server}:9446"),
        urls: ServerUrls::default(),
        version: "0.2.0".into(),
        generation: 3,
    }
}

/// Server 1 is the founder; 2 is to vote, 3 is a learner, 4 was approved and never started, 5 waits, 6 was removed.
fn mk_state() -> State {
    let mut state = State::default();
    let key = SealKey::from_bytes(&[7; 32]).unwrap();
    let mut verbs: Vec<muster_state::Verb> = vec![found_fleet::make(&key, 1, NOW_MS).unwrap().into(), record(1).into()];
    for server in 2..=6_u8 {
        let (id, sha256) = (format!("token-{server}"), Digest([server; 32]));
        verbs.push(CreateServerToken { id: id.as_str().into(), sha256, ttl_ms: 1_000 }.into());
        let request = RequestServer {
            token: Some((id.as_str().into(), sha256)),
            key: Digest([server; 32]),
            csr: Bytes(vec![1]),
            sealing_key: Bytes(vec![server; 32]),
            address: format!("10.0.0.{server}:9446"),
            urls: ServerUrls::default(),
            version: "0.2.0".into(),
            from: "192.0.2.7".into(),
        };
        verbs.push(request.into());
    }
    for server in [2, 3, 4] {
        verbs.push(ApproveServer { server, fingerprint: Digest([u8::try_from(server).unwrap(); 32]) }.into());
    }
    verbs.extend([record(2).into(), record(3).into(), PromoteServer { server: 2 }.into()]);
    verbs.push(RemoveServer { server: 6, force: false, reason: String::new() }.into());
    for verb in verbs {
        let command = muster_state::Command { request: None, verb };
        state.apply(muster_state::Stamp { now_ms: NOW_MS }, command).reply.unwrap();
    }
    state
}

fn words(status: &Status) -> Vec<(u64, String)> {
    items(&mk_state(), status, Which::Present).into_iter().map(|server| (server.id, server.state)).collect()
}

fn leader_view() -> Status {
    mk_status(
        1,
        [
            mk_member(1, true, None, Some(0)),
            mk_member(2, false, Some(4), Some(100)),
            mk_member(3, false, Some(0), Some(100)),
        ],
    )
}

#[test]
fn the_leader_shows_each_server_where_it_is_and_what_it_waits_for() {
    let shown = items(&mk_state(), &leader_view(), Which::Present);
    let words: Vec<(u64, &str, &str, &str)> =
        shown.iter().map(|s| (s.id, s.state.as_str(), s.role.as_str(), s.wanted.as_str())).collect();
    assert_eq!(
        words,
        [
            (1, "Leader", "voter", "voter"),
            (2, "Promoting", "learner", "voter"),
            (3, "Learner", "learner", "learner"),
            (4, "Approved", "", "learner"),
            (5, "Pending", "", "pending"),
        ]
    );
    assert_eq!((shown[0].term, shown[0].index, shown[0].lag_entries), (Some(3), Some(100), Some(0)));
    assert_eq!((shown[1].term, shown[1].index, shown[1].lag_entries), (Some(3), Some(96), Some(4)));
    assert!(shown[1].message.contains("4 entries behind"), "{}", shown[1].message);
    assert!(shown[3].message.contains("muster serve"), "{}", shown[3].message);
    assert_eq!(shown[4].next, format!("muster server approve 5 --fingerprint sha256:{}", "05".repeat(32)));
    assert_eq!((shown[0].has_data_keys, shown[1].has_data_keys), (true, false));
    assert_eq!(shown[4].requested_from, "192.0.2.7");
}

#[test]
fn a_follower_claims_to_know_nothing_of_the_others() {
    let mut status = leader_view();
    (status.role, status.id) = (Role::Follower, 2);
    status.members = status.members.into_keys().map(|id| mk_member(id, id != 3, None, None)).collect();
    let shown = items(&mk_state(), &status, Which::Present);
    assert_eq!((shown[1].term, shown[1].index, shown[1].lag_entries), (Some(3), Some(100), None));
    for other in [&shown[0], &shown[2]] {
        assert_eq!((other.term, other.index, other.lag_entries, other.silence_ms), (None, None, None, None));
    }
    assert_eq!((shown[0].state.as_str(), shown[1].state.as_str()), ("Leader", "Follower"));
    status.leader = None;
    status.role = Role::Candidate;
    assert_eq!(words(&status)[..2], [(1, "Follower".to_owned()), (2, "Candidate".to_owned())]);
}

#[test]
fn who_does_not_answer_the_leader_is_unreachable() {
    let status = mk_status(
        1,
        [mk_member(1, true, None, Some(0)), mk_member(2, true, Some(0), Some(9_000)), mk_member(3, false, None, None)],
    );
    let shown = items(&mk_state(), &status, Which::Present);
    assert_eq!((shown[1].state.as_str(), shown[2].state.as_str()), ("Unreachable", "Unreachable"));
    assert_eq!((shown[1].term, shown[1].lag_entries), (None, Some(0)));
    assert!(shown[1].message.contains("for 9 s"), "{}", shown[1].message);
}

#[test]
fn a_removed_server_is_shown_until_it_has_left_and_when_it_is_asked_for() {
    let state = mk_state();
    let mut status = leader_view();
    assert!(!items(&state, &status, Which::Present).iter().any(|server| server.id == 6));
    assert!(items(&state, &status, Which::All).iter().any(|server| server.id == 6 && server.state == "Removed"));
    assert_eq!(items(&state, &status, Which::One(6)).len(), 1);
    status.members.extend([mk_member(6, true, Some(0), Some(10))]);
    assert!(items(&state, &status, Which::Present).iter().any(|server| server.id == 6 && server.state == "Removing"));
}

#[test]
fn a_member_that_has_not_registered_yet_is_shown_all_the_same() {
    let status = mk_status(1, [mk_member(1, true, None, Some(0))]);
    let shown = items(&State::default(), &status, Which::Present);
    assert_eq!((shown.len(), shown[0].state.as_str(), shown[0].address.as_str()), (1, "Leader", "10.0.0.1:9446"));
}
