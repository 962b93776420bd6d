use super::*;
use crate::storage::backend::VALUE_BYTES_MAX;
use crate::storage::error::chain;
use crate::storage::record::{all_records, record_key};

fn count(backend: &Sled) -> usize {
    let (from, to) = all_records();
    let mut count = 0;
    backend
        .scan(&from..&to, &mut |_, _| {
            count += 1;
            Ok(())
        })
        .unwrap();
    count
}

#[test]
fn values_of_the_largest_size_never_leave_the_database_file() {
    let directory = tempfile::tempdir().unwrap();
    let mut backend = Sled::open(directory.path()).unwrap();
    // Appends, truncations and purges split and merge leaves in every way the log does.
    for round in 0..12_u64 {
        for step in 0..16_u64 {
            let mut batch = Batch::default();
            for index in 0..5 {
                batch.put(record_key(round * 80 + step * 5 + index, 0), vec![1; VALUE_BYTES_MAX]).unwrap();
            }
            if round > 2 {
                for index in 0..5 {
                    batch.delete(record_key((round - 3) * 80 + step * 5 + index, 0));
                }
            }
            backend.write(&batch).unwrap();
            backend.sync().unwrap();
        }
        let mut batch = Batch::default();
        for index in 0..30 {
            batch.delete(record_key(round * 80 + 79 - index, 0));
        }
        backend.write(&batch).unwrap();
        backend.sync().unwrap();
        let blobs = std::fs::read_dir(directory.path().join("blobs")).unwrap().count();
        assert_eq!(blobs, 0, "sled wrote {blobs} pages to files that it does not fsync, in round {round}");
    }
}

#[test]
fn what_was_written_is_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let mut backend = Sled::open(directory.path()).unwrap();
    for index in 0..100 {
        let mut batch = Batch::default();
        batch.put(record_key(index, 0), vec![1; 100]).unwrap();
        backend.write(&batch).unwrap();
    }
    backend.sync().unwrap();
    drop(backend);
    assert_eq!(count(&Sled::open(directory.path()).unwrap()), 100);
}

#[test]
fn a_snapshot_that_a_crash_left_half_written_does_not_bar_the_door() {
    let directory = tempfile::tempdir().unwrap();
    let mut backend = Sled::open(directory.path()).unwrap();
    let mut batch = Batch::default();
    batch.put(record_key(1, 0), vec![1; 100]).unwrap();
    backend.write(&batch).unwrap();
    backend.sync().unwrap();
    drop(backend);
    std::fs::write(directory.path().join("snap.FFFFFFFFFFFFFFFF.generating"), b"torn").unwrap();
    assert_eq!(count(&Sled::open(directory.path()).unwrap()), 1);
}

#[test]
fn closing_waits_until_the_engine_has_let_go_of_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Sled::open(directory.path()).unwrap();
    // Stands for a job of sled's thread pool that outlives the database, which happens under load.
    let held = backend.database.clone();
    let holder = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        drop(held);
    });
    drop(backend);
    let reopened = Sled::open(directory.path());
    assert!(reopened.is_ok(), "{}", reopened.err().map(|error| chain(&error)).unwrap_or_default());
    holder.join().unwrap();
}

#[test]
fn a_closed_database_can_be_opened_again_at_once_under_load() {
    let reopen = || {
        let directory = tempfile::tempdir().unwrap();
        let mut backend = Sled::open(directory.path()).unwrap();
        let mut batch = Batch::default();
        batch.put(record_key(1, 0), vec![1; 100]).unwrap();
        backend.write(&batch).unwrap();
        backend.sync().unwrap();
        drop(backend);
        Sled::open(directory.path()).err().map(|error| chain(&error))
    };
    let threads: Vec<_> =
        (0..16).map(|_| std::thread::spawn(move || (0..12).filter_map(|_| reopen()).collect::<Vec<_>>())).collect();
    let failed: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    assert!(failed.is_empty(), "{} of 192: {}", failed.len(), failed[0]);
}
