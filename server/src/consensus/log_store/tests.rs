use openraft::testing::{StoreBuilder, Suite};
use openraft::{CommittedLeaderId, StorageIOError, storage::RaftLogStorageExt as _};
use tempfile::TempDir;

use super::*;
use crate::consensus::machine::toy::{Toy, mk_batch};
use crate::consensus::state_machine::StateMachine;
use crate::storage::Engine;
use crate::storage::directory::DataDirectory;
use crate::storage::durable::StoreThread;
use crate::storage::engine::testing::on_each_engine;
use crate::storage::snapshots::Snapshots;

struct On(Engine);

/// What must live as long as the store.
struct Guard(Option<(DataDirectory, TempDir, StoreThread)>);

/// The suite lets go of this before the store, which still writes: its disk goes last.
impl Drop for Guard {
    fn drop(&mut self) {
        if let Some((directory, home, thread)) = self.0.take() {
            std::thread::spawn(move || {
                thread.join();
                drop((directory, home));
            });
        }
    }
}

type Config = TypeConfig<Toy>;

impl StoreBuilder<Config, LogStore<Toy>, StateMachine<Toy>, Guard> for On {
    async fn build(&self) -> Result<(Guard, LogStore<Toy>, StateMachine<Toy>), StorageError> {
        let home = tempfile::tempdir().map_err(|error| StorageIOError::read(&error))?;
        let directory = DataDirectory::open(home.path()).map_err(|error| StorageIOError::read(&error))?;
        let (store, thread, opened) =
            Store::open(&directory, 0, self.0).map_err(|error| StorageIOError::read(&error))?;
        let log = LogStore::open(store, &opened).await.map_err(|error| StorageIOError::read(&error))?;
        let snapshots =
            directory.snapshots().and_then(Snapshots::open).map_err(|error| StorageIOError::read(&error))?;
        let machine = StateMachine::open(snapshots, log.purged()).map_err(|error| StorageIOError::read(&error))?;
        Ok((Guard(Some((directory, home, thread))), log, machine))
    }
}

#[test]
fn openrafts_own_suite_is_content_with_the_store_on_sled() {
    Suite::test_all(On(Engine::Sled)).unwrap();
}

#[test]
fn openrafts_own_suite_is_content_with_the_store_on_redb() {
    Suite::test_all(On(Engine::Redb)).unwrap();
}

fn mk_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term, 0), index)
}

fn mk_entry(term: u64, index: u64) -> Entry<Toy> {
    let batch = mk_batch(index, &[&index.to_string()]);
    Entry::<Toy> { log_id: mk_id(term, index), payload: EntryPayload::Normal(batch) }
}

/// Opens the log in a directory, does something with it, closes it again.
async fn with_log<T>(engine: Engine, home: &TempDir, work: impl AsyncFnOnce(&mut LogStore<Toy>) -> T) -> T {
    let directory = DataDirectory::open(home.path()).unwrap();
    let (store, thread, opened) = Store::open(&directory, 1, engine).unwrap();
    let mut log = LogStore::open(store, &opened).await.unwrap();
    let result = work(&mut log).await;
    drop(log);
    tokio::task::spawn_blocking(move || thread.join()).await.unwrap();
    result
}

fn mk_vote(term: u64) -> Vote {
    Vote { leader_id: openraft::LeaderId::new(term, 1), committed: true }
}

async fn indices(log: &mut LogStore<Toy>) -> Vec<u64> {
    let entries = log.try_get_log_entries(..).await.unwrap();
    entries.iter().map(|entry| entry.log_id.index).collect()
}

on_each_engine!(a_restart_finds_vote_log_purge_point_and_committed_position);
async fn a_restart_finds_vote_log_purge_point_and_committed_position(engine: Engine) {
    let home = tempfile::tempdir().unwrap();
    with_log(engine, &home, async |log| {
        log.save_vote(&mk_vote(3)).await.unwrap();
        log.blocking_append((0..50).map(|index| mk_entry(2, index))).await.unwrap();
        log.truncate(mk_id(2, 40)).await.unwrap();
        log.blocking_append([mk_entry(3, 40)]).await.unwrap();
        log.purge(mk_id(2, 9)).await.unwrap();
        log.save_committed(Some(mk_id(2, 30))).await.unwrap();
    })
    .await;
    with_log(engine, &home, async |log| {
        assert_eq!(log.read_vote().await.unwrap(), Some(mk_vote(3)));
        assert_eq!(log.read_committed().await.unwrap(), Some(mk_id(2, 30)));
        let state = log.get_log_state().await.unwrap();
        assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(mk_id(2, 9)), Some(mk_id(3, 40))));
        assert_eq!(indices(log).await, (10..41).collect::<Vec<_>>());
    })
    .await;
}

on_each_engine!(old_entries_come_from_disk_and_new_ones_from_memory);
async fn old_entries_come_from_disk_and_new_ones_from_memory(engine: Engine) {
    let home = tempfile::tempdir().unwrap();
    with_log(engine, &home, async |log| {
        log.save_vote(&mk_vote(2)).await.unwrap();
        log.blocking_append((0..20).map(|index| mk_entry(2, index))).await.unwrap();
    })
    .await;
    with_log(engine, &home, async |log| {
        log.blocking_append((20..30).map(|index| mk_entry(2, index))).await.unwrap();
        assert_eq!(log.reader.cache().first(), Some(20));
        assert_eq!(indices(log).await, (0..30).collect::<Vec<_>>());
        assert_eq!(log.try_get_log_entries(25..28).await.unwrap().len(), 3);
        assert_eq!(log.try_get_log_entries(5..8).await.unwrap().len(), 3);
    })
    .await;
}

on_each_engine!(a_message_to_a_peer_is_bounded_in_bytes);
async fn a_message_to_a_peer_is_bounded_in_bytes(engine: Engine) {
    let home = tempfile::tempdir().unwrap();
    let large = |index| {
        let batch = mk_batch(0, &[&"x".repeat(MESSAGE_BYTES_MAX / 3)]);
        Entry::<Toy> { log_id: mk_id(1, index), payload: EntryPayload::Normal(batch) }
    };
    with_log(engine, &home, async |log| {
        log.save_vote(&mk_vote(1)).await.unwrap();
        log.blocking_append((0..9).map(large)).await.unwrap();
        assert_eq!(log.limited_get_log_entries(1, 9).await.unwrap().len(), 2, "from memory");
    })
    .await;
    with_log(engine, &home, async |log| {
        assert_eq!(log.limited_get_log_entries(1, 9).await.unwrap().len(), 2, "from disk");
    })
    .await;
}

on_each_engine!(a_log_without_the_vote_that_made_it_is_refused);
async fn a_log_without_the_vote_that_made_it_is_refused(engine: Engine) {
    let home = tempfile::tempdir().unwrap();
    with_log(engine, &home, async |log| {
        log.save_vote(&mk_vote(1)).await.unwrap();
        log.blocking_append((0..3).map(|index| mk_entry(2, index))).await.unwrap();
    })
    .await;
    let directory = DataDirectory::open(home.path()).unwrap();
    let (store, thread, opened) = Store::open(&directory, 1, engine).unwrap();
    let refused = LogStore::<Toy>::open(store, &opened).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, storage::Error::Damaged { .. }), "{refused}");
    // Closing writes: before the directory is removed.
    tokio::task::spawn_blocking(move || thread.join()).await.unwrap();
}
