use std::collections::BTreeMap;

use openraft::CommittedLeaderId;
use tempfile::TempDir;

use super::*;
use crate::consensus::machine::toy::{Toy, mk_batch, mk_parcel};
use crate::consensus::parcel::Origin;
use crate::consensus::types::Peer;

fn mk_id(index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(1, 0), index)
}

fn mk_entry(index: u64, texts: &[&str]) -> Entry<Toy> {
    let batch = mk_batch(100 + index, texts);
    Entry::<Toy> { log_id: mk_id(index), payload: EntryPayload::Normal(batch) }
}

/// An entry that makes these servers, and no others, members.
fn mk_members(index: u64, members: &[ServerId]) -> Entry<Toy> {
    let peers: BTreeMap<_, _> = members.iter().map(|id| (*id, Peer::default())).collect();
    let membership = Membership::new(vec![members.iter().copied().collect()], peers);
    Entry::<Toy> { log_id: mk_id(index), payload: EntryPayload::Membership(membership) }
}

/// An entry of one parcel of server 2, sent by its fourth start.
fn mk_sent(index: u64, sequence: u64, fence: Option<u64>, texts: &[&str]) -> Entry<Toy> {
    let origin = Origin { server: 2, generation: 4, sequence, floor: 1 };
    let batch = codec::batch(Stamp { now_ms: 100 }, &[(fence, mk_parcel(origin, texts))]);
    Entry::<Toy> { log_id: mk_id(index), payload: EntryPayload::Normal(batch) }
}

async fn take_snapshot(machine: &mut StateMachine<Toy>) -> Snapshot<Toy> {
    machine.get_snapshot_builder().await.build_snapshot().await.unwrap()
}

fn mk_machine(home: &TempDir) -> StateMachine<Toy> {
    StateMachine::open(Snapshots::open(home.path().to_owned()).unwrap(), None).unwrap()
}

fn texts(machine: &StateMachine<Toy>) -> Vec<String> {
    machine.shared.read().machine.notes.iter().map(|note| note.text.clone()).collect()
}

#[tokio::test]
async fn an_entry_of_the_first_format_is_carried_out_whole() {
    let home = tempfile::tempdir().unwrap();
    let mut machine = mk_machine(&home);
    machine.apply([mk_entry(1, &["a", "b"]), mk_entry(2, &["c"])]).await.unwrap();
    assert_eq!(texts(&machine), ["a", "b", "c"]);
    assert_eq!(machine.applied_state().await.unwrap().0, Some(mk_id(2)));
    assert_eq!(*machine.shared.applied().borrow(), Some(mk_id(2)));
}

#[tokio::test]
async fn a_parcel_that_came_twice_is_carried_out_once_also_after_a_snapshot() {
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut machine = mk_machine(&home);
    machine.apply([mk_members(1, &[1, 2]), mk_sent(2, 1, None, &["a"]), mk_sent(3, 1, None, &["a"])]).await.unwrap();
    assert_eq!(texts(&machine), ["a"]);
    let built = take_snapshot(&mut machine).await;
    let mut installed = mk_machine(&other);
    installed.install_snapshot(&built.meta, built.snapshot).await.unwrap();
    for mut machine in [mk_machine(&home), installed] {
        machine.apply([mk_sent(4, 1, None, &["a"]), mk_sent(5, 2, None, &["b"])]).await.unwrap();
        assert_eq!(texts(&machine), ["a", "b"]);
        assert_eq!(machine.shared.known_generation(2), 4);
    }
}

#[tokio::test]
async fn who_is_no_member_gets_nothing_carried_out_and_a_late_leader_neither() {
    let home = tempfile::tempdir().unwrap();
    let mut machine = mk_machine(&home);
    machine.apply([mk_members(1, &[1]), mk_sent(2, 1, None, &["stranger"])]).await.unwrap();
    machine.apply([mk_members(3, &[1, 2]), mk_sent(4, 2, Some(9), &["late"])]).await.unwrap();
    machine.apply([mk_sent(5, 3, Some(1), &["in time"])]).await.unwrap();
    machine.apply([mk_members(6, &[1]), mk_sent(7, 4, None, &["removed"])]).await.unwrap();
    assert_eq!(texts(&machine), ["in time"]);
    assert_eq!(machine.shared.read().left, [2].into());
}

#[tokio::test]
async fn equal_history_makes_equal_snapshots() {
    let mut snapshots = Vec::new();
    for cut in 1..4 {
        let home = tempfile::tempdir().unwrap();
        let mut machine = mk_machine(&home);
        let history = [mk_members(1, &[1, 2]), mk_sent(2, 1, None, &["a"]), mk_sent(3, 2, None, &["b"])];
        machine.apply(history[..cut].to_vec()).await.unwrap();
        take_snapshot(&mut machine).await;
        let mut machine = mk_machine(&home);
        machine.apply(history[cut..].to_vec()).await.unwrap();
        snapshots.push(take_snapshot(&mut machine).await.snapshot.into_inner());
    }
    assert!(snapshots.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn a_restart_goes_on_from_the_snapshot() {
    let home = tempfile::tempdir().unwrap();
    let mut machine = mk_machine(&home);
    machine.apply([mk_entry(1, &["a"]), mk_entry(2, &["b"])]).await.unwrap();
    let built = machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
    machine.apply([mk_entry(3, &["c"])]).await.unwrap();
    let mut restarted = mk_machine(&home);
    assert_eq!(texts(&restarted), ["a", "b"]);
    assert_eq!(restarted.applied_state().await.unwrap().0, Some(mk_id(2)));
    assert_eq!(restarted.get_current_snapshot().await.unwrap().unwrap().meta, built.meta);
}

#[tokio::test]
async fn a_snapshot_is_of_the_moment_its_builder_was_taken() {
    let home = tempfile::tempdir().unwrap();
    let mut machine = mk_machine(&home);
    machine.apply([mk_entry(1, &["a"])]).await.unwrap();
    let mut builder = machine.get_snapshot_builder().await;
    machine.apply([mk_entry(2, &["b"])]).await.unwrap();
    assert_eq!(builder.build_snapshot().await.unwrap().meta.last_log_id, Some(mk_id(1)));
    assert_eq!(texts(&mk_machine(&home)), ["a"]);
}

#[tokio::test]
async fn an_installed_snapshot_replaces_everything_and_watchers_are_told() {
    let (leader_home, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut leader = mk_machine(&leader_home);
    leader.apply([mk_entry(1, &["a"]), mk_entry(9, &["b"])]).await.unwrap();
    let built = leader.get_snapshot_builder().await.build_snapshot().await.unwrap();
    let mut machine = mk_machine(&home);
    machine.apply([mk_entry(1, &["other"])]).await.unwrap();
    let mut watcher = machine.shared.subscribe();
    machine.install_snapshot(&built.meta, built.snapshot).await.unwrap();
    assert_eq!(texts(&machine), ["a", "b"]);
    assert_eq!(machine.applied_state().await.unwrap().0, Some(mk_id(9)));
    assert!(matches!(watcher.try_recv(), Ok(Update::Resync)));
    assert_eq!(texts(&mk_machine(&home)), ["a", "b"], "after a restart");
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_read_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mut machine = mk_machine(&home);
    machine.apply([mk_entry(1, &["a"])]).await.unwrap();
    let meta = codec::snapshot_meta(Some(mk_id(9)), StoredMembership::default());
    let refused = machine.install_snapshot(&meta, Box::new(Cursor::new(b"nonsense".to_vec()))).await;
    assert!(refused.is_err());
    assert_eq!(texts(&machine), ["a"]);
    assert!(machine.get_current_snapshot().await.unwrap().is_none());
}

#[tokio::test]
async fn watchers_hear_of_an_entry_once_it_can_be_read() {
    let home = tempfile::tempdir().unwrap();
    let mut machine = mk_machine(&home);
    let mut watcher = crate::consensus::Changes::new(machine.shared.subscribe());
    machine.apply([mk_entry(4, &["a", "b"])]).await.unwrap();
    let Some(Update::Changed { index, stamp, changes }) = watcher.next().await else { panic!("no change") };
    assert_eq!((index, stamp.now_ms, changes.as_ref()), (4, 104, ["a".to_owned(), "b".to_owned()].as_slice()));
}

#[tokio::test]
async fn a_slow_watcher_is_told_to_look_anew() {
    let home = tempfile::tempdir().unwrap();
    let mut machine = mk_machine(&home);
    let mut watcher = crate::consensus::Changes::new(machine.shared.subscribe());
    for index in 0..=WATCHER_ENTRIES_MAX as u64 {
        machine.apply([mk_entry(index, &["a"])]).await.unwrap();
    }
    assert!(matches!(watcher.next().await, Some(Update::Resync)));
    assert!(matches!(watcher.next().await, Some(Update::Changed { .. })));
}
