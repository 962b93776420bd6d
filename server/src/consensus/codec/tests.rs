use std::collections::BTreeMap;

use proptest::prelude::*;

use muster_state::Stamp;

use super::*;
use crate::consensus::machine::toy::{Toy, Write, mk_batch, mk_parcel};
use crate::consensus::parcel::{Heading, Origin};
use crate::consensus::types::Batch;

fn mk_origin(sequence: u64) -> Origin {
    Origin { server: 2, generation: 3, sequence, floor: 7 }
}

fn mk_parcels(now_ms: u64, parcels: &[&[&str]]) -> Batch<Toy> {
    let parcels: Vec<_> = (8..).zip(parcels).map(|(at, texts)| (None, mk_parcel(mk_origin(at), texts))).collect();
    batch(Stamp { now_ms }, &parcels)
}

fn commands(batch: &Batch<Toy>) -> Vec<Write> {
    batch.parts().iter().flat_map(|part| part.commands.to_vec()).collect()
}

fn mk_membership() -> Membership {
    let peers = BTreeMap::from([(1, Peer { address: "10.0.0.5:9446".into() }), (2, Peer { address: "b:1".into() })]);
    Membership::new(vec![[1].into(), [1, 2].into()], peers)
}

fn mk_entry(payload: EntryPayload<crate::consensus::types::TypeConfig<Toy>>) -> Entry<Toy> {
    Entry::<Toy> { log_id: log_id(0x0102, 9), payload }
}

fn stored(entry: &Entry<Toy>) -> (String, String) {
    let bytes = render_entry(entry);
    (hex::encode(&bytes[..10]), String::from_utf8(bytes[10..].to_vec()).unwrap())
}

#[test]
fn the_stored_bytes_of_format_1_never_change() {
    let head = |kind: &str| format!("01{kind}0000000000000102");
    assert_eq!(stored(&mk_entry(EntryPayload::Blank)), (head("00"), String::new()));
    assert_eq!(
        stored(&mk_entry(EntryPayload::Normal(mk_batch(1_700_000_000_000, &["a", "b"])))),
        (head("01"), r#"{"now_ms":1700000000000,"commands":[{"text":"a"},{"text":"b"}]}"#.into()),
    );
    let fenced = batch(
        Stamp { now_ms: 7 },
        &[(None, mk_parcel(mk_origin(8), &["a", "b"])), (Some(258), mk_parcel(mk_origin(9), &["c"]))],
    );
    assert_eq!(
        stored(&mk_entry(EntryPayload::Normal(fenced))),
        (
            head("01"),
            concat!(
                r#"{"now_ms":7,"commands":[{"text":"a"},{"text":"b"},{"text":"c"}],"parcels":["#,
                r#"{"server":2,"generation":3,"sequence":8,"floor":7,"commands":2},"#,
                r#"{"server":2,"generation":3,"sequence":9,"floor":7,"commands":1,"fence":258}]}"#
            )
            .into(),
        ),
    );
    assert_eq!(
        stored(&mk_entry(EntryPayload::Membership(mk_membership()))),
        (
            head("02"),
            r#"{"configs":[[1],[1,2]],"peers":{"1":{"address":"10.0.0.5:9446"},"2":{"address":"b:1"}}}"#.into(),
        ),
    );
    let vote = Vote { leader_id: openraft::LeaderId::new(3, 1), committed: true };
    assert_eq!(String::from_utf8(render_vote(&vote)).unwrap(), r#"{"format":1,"term":3,"server":1,"committed":true}"#);
    assert_eq!(String::from_utf8(render_log_id(&log_id(3, 9))).unwrap(), r#"{"format":1,"term":3,"index":9}"#);
    let meta = snapshot_meta(Some(log_id(3, 9)), StoredMembership::new(Some(log_id(2, 4)), mk_membership()));
    assert_eq!(
        String::from_utf8(render_meta(&meta)).unwrap(),
        concat!(
            r#"{"format":1,"last":{"term":3,"index":9},"membership_at":{"term":2,"index":4},"#,
            r#""configs":[[1],[1,2]],"peers":{"1":{"address":"10.0.0.5:9446"},"2":{"address":"b:1"}}}"#,
        ),
    );
    assert_eq!(meta.snapshot_id, "3-9");
}

#[test]
fn what_was_stored_is_read_back() {
    for entry in [
        mk_entry(EntryPayload::Blank),
        mk_entry(EntryPayload::Normal(mk_batch(7, &["x"]))),
        mk_entry(EntryPayload::Normal(mk_batch(7, &[]))),
        mk_entry(EntryPayload::Normal(mk_parcels(7, &[&["x", "y"], &["z"]]))),
        mk_entry(EntryPayload::Membership(mk_membership())),
    ] {
        let bytes = render_entry(&entry);
        let read: Entry<Toy> = parse_entry(9, &bytes).unwrap();
        assert_eq!(read.log_id, entry.log_id);
        assert_eq!(render_entry(&read), bytes);
    }
    for vote in [Vote::default(), Vote { leader_id: openraft::LeaderId::new(3, 1), committed: true }] {
        assert_eq!(parse_vote(&render_vote(&vote)).unwrap(), vote);
    }
    for membership in [StoredMembership::default(), StoredMembership::new(Some(log_id(2, 4)), mk_membership())] {
        let meta = snapshot_meta(Some(log_id(3, 9)), membership);
        assert_eq!(parse_meta(&render_meta(&meta)).unwrap(), meta);
    }
    assert_eq!(parse_log_id(&render_log_id(&log_id(3, 9))).unwrap(), log_id(3, 9));
}

#[test]
fn what_this_program_does_not_know_is_refused_and_never_quoted() {
    let secret = "hunter2";
    let head = |format: u8, kind: u8| [vec![format, kind], vec![0; 8]].concat();
    let unknown_command = format!(r#"{{"now_ms":1,"commands":[{{"brew":"{secret}"}}]}}"#);
    let unknown_field = format!(r#"{{"now_ms":1,"commands":[],"extra":"{secret}"}}"#);
    let heading = r#"{"server":1,"generation":1,"sequence":1,"floor":1,"commands":2}"#;
    let one_too_few = format!(r#"{{"now_ms":1,"commands":[{{"text":"{secret}"}}],"parcels":[{heading}]}}"#);
    let unknown_in_heading = one_too_few.replace("floor", "ceiling");
    for (bytes, says) in [
        (head(2, 0), "format 2"),
        (head(1, 9), "unknown kind 9"),
        (vec![1, 0], "too short"),
        ([head(1, 0), b"x".to_vec()].concat(), "unknown kind 0"),
        ([head(1, 1), unknown_command.into_bytes()].concat(), "Data error"),
        ([head(1, 1), unknown_field.into_bytes()].concat(), "Data error"),
        ([head(1, 1), one_too_few.into_bytes()].concat(), "do not hold"),
        ([head(1, 1), unknown_in_heading.into_bytes()].concat(), "Data error"),
        ([head(1, 1), vec![0xff]].concat(), "UTF-8"),
    ] {
        let refused = parse_entry::<Toy>(1, &bytes).map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains(says) && !refused.contains(secret), "{refused}");
    }
    let refused = parse_vote(br#"{"format":2,"term":"hunter2"}"#).unwrap_err().to_string();
    assert!(refused.contains("format 2") && !refused.contains(secret), "{refused}");
    let refused = parse_log_id(br#"{"format":1,"term":"hunter2"}"#).unwrap_err().to_string();
    assert!(!refused.contains(secret), "{refused}");
}

#[test]
fn commands_and_replies_are_not_printed() {
    let batch = mk_batch(1, &["hunter2"]);
    let parcel = mk_parcel(mk_origin(8), &["hunter2"]);
    let entry = mk_entry(EntryPayload::Normal(batch.clone()));
    let printed = format!("{batch:?} {parcel:?} {entry:?} {entry}");
    assert!(!printed.contains("hunter2") && printed.contains("Batch(1 commands)"), "{printed}");
}

#[test]
fn a_full_command_fits_an_entry() {
    let most = Origin { server: u64::MAX, generation: u64::MAX, sequence: u64::MAX, floor: u64::MAX };
    let parcel = mk_parcel(most, &["a"]);
    let full = batch(Stamp { now_ms: u64::MAX }, &[(Some(u64::MAX), parcel.clone())]);
    let overhead = render_entry(&mk_entry(EntryPayload::Normal(full))).len() - parcel.bytes();
    assert!(overhead <= BATCH_OVERHEAD_BYTES, "{overhead}");
}

proptest! {
    #[test]
    fn any_batch_comes_back_as_it_was_proposed(
        now_ms: u64,
        texts in prop::collection::vec(prop::collection::vec(".*", 1..4), 0..5),
    ) {
        let texts: Vec<Vec<&str>> = texts.iter().map(|texts| texts.iter().map(String::as_str).collect()).collect();
        let parcels: Vec<&[&str]> = texts.iter().map(Vec::as_slice).collect();
        let entry = mk_entry(EntryPayload::Normal(mk_parcels(now_ms, &parcels)));
        let bytes = render_entry(&entry);
        prop_assert_eq!(bytes.len(), entry_bytes(&entry));
        let EntryPayload::Normal(read) = parse_entry::<Toy>(9, &bytes).unwrap().payload else { panic!("no batch") };
        prop_assert_eq!(read.stamp(), Stamp { now_ms });
        prop_assert_eq!(commands(&read), texts.iter().flatten().map(|text| Write::new(*text)).collect::<Vec<_>>());
        let headings: Vec<_> = read.parts().iter().filter_map(|part| part.heading).collect();
        let sent = (8..).take(texts.len()).map(|at| Heading { origin: mk_origin(at), fence: None });
        prop_assert_eq!(headings, sent.collect::<Vec<_>>());
    }

    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
        let _ = parse_entry::<Toy>(1, &bytes);
        let _ = parse_vote(&bytes);
        let _ = parse_meta(&bytes);
    }
}
