use std::sync::Mutex;

use super::*;
use crate::storage::backend::memory::{Event, Memory};
use crate::storage::engine::testing::on_each_engine;

fn mk_memory() -> Memory {
    let mut backend = Memory::default();
    prepare(&mut backend, 1).unwrap();
    backend.after_power_cut()
}

fn mk_record(index: u64) -> Record {
    Record { index, payload: format!("record {index}").into_bytes() }
}

/// An acknowledgement is honest if a sync lies between it and the last write before it.
fn first_dishonest(events: &[Event]) -> Option<usize> {
    let mut durable = true;
    for (at, event) in events.iter().enumerate() {
        match event {
            Event::Write => durable = false,
            Event::Sync => durable = true,
            Event::Acknowledge if !durable => return Some(at),
            Event::Acknowledge => {}
        }
    }
    None
}

async fn append(store: &Store, watcher: &Memory, index: u64) -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    let watcher = watcher.watcher();
    let done = Box::new(move || {
        watcher.note(Event::Acknowledge);
        let _ = sender.send(());
    });
    store.append(vec![mk_record(index)], done).await.unwrap();
    receiver
}

#[test]
fn the_judge_of_acknowledgements_knows_a_dishonest_one() {
    use Event::{Acknowledge, Sync, Write};
    assert_eq!(first_dishonest(&[Write, Sync, Acknowledge, Acknowledge]), None);
    assert_eq!(first_dishonest(&[Write, Acknowledge, Sync]), Some(1));
    assert_eq!(first_dishonest(&[Write, Sync, Write, Acknowledge]), Some(3));
}

#[tokio::test]
async fn an_fsync_lies_between_the_last_write_and_each_acknowledgement() {
    let backend = mk_memory();
    let watcher = backend.watcher();
    let (store, thread, _) = Store::start(backend, 1).unwrap();
    let mut waiting = Vec::new();
    for index in 0..200 {
        waiting.push(append(&store, &watcher, index).await);
        if index % 40 == 0 {
            store.save_vote(format!("vote {index}").into_bytes()).await.unwrap();
            watcher.note(Event::Acknowledge);
            store.note_committed(format!("committed {index}").into_bytes()).await.unwrap();
        }
    }
    for receiver in waiting {
        receiver.await.unwrap();
    }
    drop(store);
    tokio::task::spawn_blocking(move || thread.join()).await.unwrap();
    let events = watcher.events();
    assert_eq!(events.iter().filter(|event| **event == Event::Acknowledge).count(), 205);
    assert_eq!(first_dishonest(&events), None, "{events:?}");
}

#[tokio::test]
async fn all_that_was_acknowledged_outlives_a_power_cut() {
    let backend = mk_memory();
    let watcher = backend.watcher();
    let (store, _thread, _) = Store::start(backend, 1).unwrap();
    for index in 0..20 {
        append(&store, &watcher, index).await.await.unwrap();
    }
    store.save_vote(b"vote".to_vec()).await.unwrap();
    store.truncate(18).await.unwrap();
    store.purge(PurgePoint { index: 4, detail: b"four".to_vec() }).await.unwrap();
    let (after, _thread, opened) = Store::start(watcher.after_power_cut(), 1).unwrap();
    assert_eq!(
        opened,
        Opened {
            vote: Some(b"vote".to_vec()),
            committed: None,
            purged: Some(PurgePoint { index: 4, detail: b"four".to_vec() }),
            present: 5..18,
        },
    );
    let records = after.read(0..100, usize::MAX).await.unwrap();
    assert_eq!(records, (5..18).map(|index| (index, mk_record(index).payload)).collect::<Vec<_>>());
}

#[tokio::test]
async fn acknowledgements_come_in_the_order_of_the_queue() {
    let (store, _thread, _) = Store::start(mk_memory(), 1).unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    for index in 0..300 {
        let order = order.clone();
        let done = Box::new(move || order.lock().unwrap().push(index));
        store.append(vec![mk_record(index)], done).await.unwrap();
    }
    store.save_vote(b"last".to_vec()).await.unwrap();
    assert_eq!(*order.lock().unwrap(), (0..300).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_read_sees_what_was_queued_before_it() {
    let (store, _thread, _) = Store::start(mk_memory(), 1).unwrap();
    store.append(vec![mk_record(0), mk_record(1)], Box::new(|| {})).await.unwrap();
    assert_eq!(store.read(0..9, usize::MAX).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_record_above_the_bound_is_refused_and_nothing_is_queued() {
    let (store, _thread, _) = Store::start(mk_memory(), 1).unwrap();
    let large = Record { index: 1, payload: vec![0; crate::storage::record::PAYLOAD_BYTES_MAX + 1] };
    let refused = store.append(vec![mk_record(0), large], Box::new(|| panic!("acknowledged"))).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    assert!(store.read(0..9, usize::MAX).await.unwrap().is_empty());
}

#[tokio::test]
async fn operations_that_wait_share_one_sync() {
    let backend = mk_memory();
    let watcher = backend.watcher();
    let (store, _thread, _) = Store::start(backend, 1).unwrap();
    watcher.hold_syncs(true);
    let mut waiting = Vec::new();
    for index in 0..200 {
        waiting.push(append(&store, &watcher, index).await);
    }
    watcher.hold_syncs(false);
    for receiver in waiting {
        receiver.await.unwrap();
    }
    // The first few may have gone alone; those that came while their sync ran went together.
    let syncs = store.counters().syncs.load(Ordering::Relaxed);
    assert!(syncs <= 2, "{syncs} syncs for 200 operations");
}

#[tokio::test]
async fn the_disk_of_another_server_is_refused() {
    let refused = Store::start(mk_memory(), 2).map(|_| ()).unwrap_err();
    assert!(matches!(refused, Error::OtherServer { expected: 2, found: 1 }), "{refused}");
}

#[tokio::test]
async fn a_backend_without_identity_is_refused() {
    let refused = Store::start(Memory::default(), 1).map(|_| ()).unwrap_err();
    assert!(matches!(refused, Error::Damaged { .. }), "{refused}");
}

on_each_engine!(everything_is_there_after_closing_and_opening_on_a_real_disk);
async fn everything_is_there_after_closing_and_opening_on_a_real_disk(engine: Engine) {
    let home = tempfile::tempdir().unwrap();
    for round in 0..5_u64 {
        let directory = DataDirectory::open(home.path()).unwrap();
        let (store, thread, opened) = Store::open(&directory, 7, engine).unwrap();
        assert_eq!(opened.present, 0..round * 10);
        for index in round * 10..(round + 1) * 10 {
            store.append(vec![mk_record(index)], Box::new(|| {})).await.unwrap();
        }
        store.note_committed(format!("{round}").into_bytes()).await.unwrap();
        drop(store);
        tokio::task::spawn_blocking(move || thread.join()).await.unwrap();
    }
    let directory = DataDirectory::open(home.path()).unwrap();
    let (store, thread, opened) = Store::open(&directory, 7, engine).unwrap();
    assert_eq!((opened.present, opened.committed), (0..50, Some(b"4".to_vec())));
    assert_eq!(store.read(0..50, usize::MAX).await.unwrap().len(), 50);
    // Closing writes: before the directory is removed.
    drop(store);
    tokio::task::spawn_blocking(move || thread.join()).await.unwrap();
}
