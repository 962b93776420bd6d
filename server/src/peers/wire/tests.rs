use std::collections::{BTreeMap, BTreeSet};

use muster_proto::internal::raft::v1::{AppendRequest, Ballot, Envelope};
use muster_state::record::Certificate;
use muster_state::{Bytes, Digest, Refusal};
use muster_trust::sealing::SealedToNode;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, VoteRequest, VoteResponse};
use openraft::{CommittedLeaderId, EntryPayload, LeaderId};

use super::{forward, greet, raft, relay, snapshot};
use crate::consensus::codec;
use crate::consensus::machine::toy::{Toy, mk_batch, mk_parcel};
use crate::consensus::types::{Entry, LogId, Membership, Peer, StoredMembership, TypeConfig, Vote};
use crate::consensus::{ForwardError, Forwarded, Origin, Parcel, ReadError};

fn envelope() -> Envelope {
    Envelope { fleet: "f".into(), from: 1, to: 2 }
}

fn vote(term: u64) -> Vote {
    Vote { leader_id: LeaderId { term, voted_for: Some(1) }, committed: true }
}

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term, 0), index)
}

fn membership() -> Membership {
    let peer = |id: u64| (id, Peer { address: format!("s{id}:9446") });
    Membership::new(vec![BTreeSet::from([1]), BTreeSet::from([1, 2])], BTreeMap::from([peer(1), peer(2), peer(3)]))
}

fn entries() -> Vec<Entry<Toy>> {
    let write = mk_batch(7, &["a secret"]);
    let payloads = [EntryPayload::Blank, EntryPayload::Normal(write), EntryPayload::Membership(membership())];
    let entry = |(index, payload)| Entry::<Toy> { log_id: log_id(3, index), payload };
    (5..).zip(payloads).map(entry).collect()
}

fn append() -> AppendEntriesRequest<TypeConfig<Toy>> {
    AppendEntriesRequest {
        vote: vote(3),
        prev_log_id: Some(log_id(2, 4)),
        entries: entries(),
        leader_commit: Some(log_id(2, 3)),
    }
}

/// Over the wire and back.
fn sent<M: prost::Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).unwrap()
}

#[test]
fn entries_of_every_kind_survive_the_wire() {
    let wire = sent(&raft::render_append(envelope(), &append()));
    assert!(!format!("{wire:?}").contains("a secret"));
    let arrived = raft::parse_append::<Toy>(wire).unwrap();
    assert_eq!(arrived.vote, vote(3));
    assert_eq!((arrived.prev_log_id, arrived.leader_commit), (Some(log_id(2, 4)), Some(log_id(2, 3))));
    let stored = |entries: &[Entry<Toy>]| -> Vec<_> {
        entries.iter().map(|entry| (entry.log_id, codec::render_entry(entry))).collect()
    };
    assert_eq!(stored(&arrived.entries), stored(&entries()));
}

#[test]
fn a_heartbeat_survives_the_wire() {
    let heartbeat = AppendEntriesRequest::<TypeConfig<Toy>> {
        vote: vote(1),
        prev_log_id: None,
        entries: vec![],
        leader_commit: None,
    };
    let arrived = raft::parse_append::<Toy>(sent(&raft::render_append(envelope(), &heartbeat))).unwrap();
    assert_eq!((arrived.prev_log_id, arrived.leader_commit, arrived.entries.len()), (None, None, 0));
}

fn refused(change: impl FnOnce(&mut AppendRequest)) -> String {
    let mut wire = raft::render_append(envelope(), &append());
    change(&mut wire);
    raft::parse_append::<Toy>(wire).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn entries_with_a_hole_a_repeat_or_a_term_that_goes_back_are_refused() {
    let follows = "an entry of a peer's message does not follow the one before it";
    assert_eq!(refused(|wire| drop(wire.entries.remove(1))), follows);
    assert_eq!(refused(|wire| wire.entries[1].index = 5), follows);
    assert_eq!(refused(|wire| wire.previous = None), follows);
    assert_eq!(refused(|wire| wire.previous = Some(raft::render_log_id(&log_id(9, 4)))), follows);
}

#[test]
fn an_entry_that_this_program_does_not_know_is_refused_without_being_quoted() {
    let unknown = refused(|wire| wire.entries[1].stored = b"\x01\x01\0\0\0\0\0\0\0\x03{\"secret\":1}".to_vec());
    assert!(unknown.starts_with("an entry of a peer's message a batch of commands cannot be read"), "{unknown}");
    assert!(!unknown.contains("secret"), "{unknown}");
    assert_eq!(refused(|wire| wire.vote = None), "the vote of a peer's message is missing");
}

#[test]
fn answers_and_votes_survive_the_wire() {
    for answer in [
        AppendEntriesResponse::Success,
        AppendEntriesResponse::PartialSuccess(None),
        AppendEntriesResponse::PartialSuccess(Some(log_id(1, 2))),
        AppendEntriesResponse::Conflict,
        AppendEntriesResponse::HigherVote(vote(9)),
    ] {
        assert_eq!(raft::parse_appended(sent(&raft::render_appended(&answer))), Ok(answer));
    }
    let nobody = Vote { leader_id: LeaderId { term: 4, voted_for: None }, committed: false };
    let asked = VoteRequest { vote: nobody, last_log_id: Some(log_id(3, 8)) };
    assert_eq!(raft::parse_candidacy(sent(&raft::render_candidacy(envelope(), &asked))), Ok(asked));
    let voted = VoteResponse { vote: vote(5), vote_granted: true, last_log_id: None };
    assert_eq!(raft::parse_voted(sent(&raft::render_voted(&voted))), Ok(voted));
    assert!(raft::parse_vote(None::<Ballot>).is_err());
    assert!(raft::parse_appended(Default::default()).is_err());
}

fn piece() -> InstallSnapshotRequest<TypeConfig<Toy>> {
    let membership = StoredMembership::new(Some(log_id(1, 2)), membership());
    let meta = codec::snapshot_meta(Some(log_id(3, 40)), membership);
    InstallSnapshotRequest { vote: vote(3), meta, offset: 512, data: b"a secret state".to_vec(), done: true }
}

#[test]
fn a_piece_of_a_snapshot_survives_the_wire_and_is_not_printed() {
    let wire = sent(&snapshot::render(envelope(), piece()));
    assert!(!format!("{wire:?}").contains("secret"));
    assert_eq!(snapshot::parse::<Toy>(wire).unwrap(), piece());
}

#[test]
fn a_piece_that_was_changed_anywhere_is_refused() {
    type Change = fn(&mut muster_proto::internal::raft::v1::InstallSnapshotRequest);
    let changes: [Change; 5] = [
        |wire| wire.data[3] ^= 1,
        |wire| wire.meta[3] ^= 1,
        |wire| wire.offset += 1,
        |wire| wire.done = false,
        |wire| wire.sha256.clear(),
    ];
    for change in changes {
        let mut wire = snapshot::render(envelope(), piece());
        change(&mut wire);
        let refusal = snapshot::parse::<Toy>(wire).unwrap_err().to_string();
        assert_eq!(refusal, "a piece of a snapshot of a peer's message is damaged: its checksum does not fit");
    }
}

#[test]
fn what_became_of_a_piece_survives_the_wire() {
    let segment = |offset| openraft::SnapshotSegmentId { id: "3-40".into(), offset };
    let mismatch = openraft::error::SnapshotMismatch { expect: segment(0), got: segment(512) };
    for outcome in [Ok(openraft::raft::InstallSnapshotResponse { vote: vote(3) }), Err(mismatch)] {
        assert_eq!(snapshot::parse_installed(sent(&snapshot::render_installed(&outcome))), Ok(outcome));
    }
    assert!(snapshot::parse_installed(Default::default()).is_err());
}

fn parcel() -> Parcel<Toy> {
    mk_parcel(Origin { server: 3, generation: 2, sequence: 9, floor: 7 }, &["a secret", "another"])
}

#[test]
fn a_parcel_survives_the_wire_and_is_not_printed() {
    let wire = sent(&forward::render(envelope(), &parcel()));
    assert!(!format!("{wire:?}").contains("secret"));
    let arrived = forward::parse::<Toy>(wire).unwrap();
    assert_eq!(arrived.origin, parcel().origin);
    let texts: Vec<_> = arrived.commands().iter().map(|command| command.text.as_str()).collect();
    assert_eq!(texts, ["a secret", "another"]);
}

#[test]
fn a_parcel_that_cannot_be_read_is_refused_without_being_quoted() {
    let mut wire = forward::render(envelope(), &parcel());
    wire.parcel.pop();
    let refused = forward::parse::<Toy>(wire).map(drop).unwrap_err().to_string();
    assert!(refused.starts_with("the parcel of a peer's message") && !refused.contains("secret"), "{refused}");
}

#[test]
fn what_became_of_a_parcel_or_a_read_survives_the_wire() {
    for answer in [
        Ok(Forwarded { index: 12 }),
        Err(ForwardError::NotLeader { leader: Some(2) }),
        Err(ForwardError::NotLeader { leader: None }),
        Err(ForwardError::Overloaded),
        Err(ForwardError::Malformed),
        Err(ForwardError::Unavailable),
        Err(ForwardError::Unknown),
    ] {
        assert_eq!(forward::parse_forwarded(sent(&forward::render_forwarded(answer.clone()))), Ok(answer));
    }
    let not_leader = ReadError::NotLeader { leader: Some(1) };
    for answer in [Ok(12), Err(not_leader), Err(ReadError::Unavailable), Err(ReadError::TimedOut)] {
        assert_eq!(forward::parse_read(sent(&forward::render_read(answer.clone()))), Ok(answer));
    }
    assert!(forward::parse_forwarded(Default::default()).is_err() && forward::parse_read(Default::default()).is_err());
}

#[test]
fn greetings_and_their_answers_survive_the_wire() {
    use crate::peers::greet::{Greeted, Greeting, Refused};
    for (last_index, vote) in [(None, None), (Some(2), Some(vote(4)))] {
        let greeting = Greeting { generation: 3, start: [7; 16], fresh: true, last_index, vote };
        assert_eq!(greet::parse(sent(&greet::render(envelope(), &greeting))), Ok(greeting));
    }
    for greeted in [
        Greeted::Welcome,
        Greeted::Unknown,
        Greeted::Refused(Refused::Removed),
        Greeted::Refused(Refused::LostLog { ends_at: 12, acknowledged: 40 }),
        Greeted::Refused(Refused::LostVote { term: 1, given: 2 }),
        Greeted::Refused(Refused::StaleGeneration { generation: 3, known: 5 }),
    ] {
        assert_eq!(greet::parse_greeted(sent(&greet::render_greeted(&greeted))), Ok(greeted));
    }
    let mut short = greet::render(
        envelope(),
        &Greeting { generation: 3, start: [7; 16], fresh: true, last_index: None, vote: None },
    );
    short.start.pop();
    assert!(greet::parse(short).is_err() && greet::parse_greeted(Default::default()).is_err());
}

#[test]
fn what_a_relay_asks_survives_the_wire() {
    use crate::peers::relay::{PayloadAsk, RenewalAsk};
    let (node, key) = (muster_state::NodeId::from("n"), Digest([5; 32]));
    let ask = PayloadAsk { node: node.clone(), attempt: 2, step: "join".into(), key };
    let mut wire = sent(&relay::render_payload_ask(envelope(), ask.clone()));
    assert_eq!(relay::parse_payload_ask(wire.clone()), Ok(ask));
    wire.key_sha256.pop();
    assert!(relay::parse_payload_ask(wire).is_err());
    let ask = RenewalAsk { node: node.clone(), key, generation: 4, csr: Bytes(vec![1, 2]) };
    assert_eq!(relay::parse_renewal_ask(sent(&relay::render_renewal_ask(envelope(), ask.clone()))), Ok(ask));
    assert_eq!(sent(&relay::render_issue_ask(envelope(), &node)).node_id, "n");
}

#[test]
fn what_a_voter_answers_survives_the_wire() {
    use crate::peers::relay::RelayError;
    let certificate = Certificate { chain: vec![Bytes(vec![1]), Bytes(vec![2])], not_after_ms: 9 };
    let errors = [
        RelayError::Refused(Refusal::Locked("why".into())),
        RelayError::Request("wrong".into()),
        RelayError::Unavailable("later".into()),
        RelayError::Moved,
        RelayError::Failed,
    ];
    for answer in errors.into_iter().map(Err).chain([Ok(certificate)]) {
        assert_eq!(relay::parse_issued(sent(&relay::render_issued(answer.clone()))), Ok(answer.clone()));
        let renewed = answer.clone().map(|certificate| (3, certificate));
        assert_eq!(relay::parse_renewed(sent(&relay::render_renewed(renewed.clone()))), Ok(renewed));
        let sealed = || answer.clone().map(|_| SealedToNode { enc: vec![1], ciphertext: b"a secret".to_vec() });
        let wire = sent(&relay::render_payload(sealed()));
        assert!(!format!("{wire:?}").contains("115, 101"), "{wire:?}");
        let arrived = relay::parse_payload(wire).unwrap();
        assert_eq!(
            arrived.map(|sealed| (sealed.enc, sealed.ciphertext)),
            sealed().map(|sealed| (sealed.enc, sealed.ciphertext))
        );
    }
    assert!(relay::parse_issued(Default::default()).is_err());
    assert!(relay::parse_renewed(Default::default()).is_err() && relay::parse_payload(Default::default()).is_err());
}
