use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

use super::*;
use crate::consensus::machine::toy::{Toy, Write};
use crate::consensus::{Clock, Role, Update};

const LONG: Duration = Duration::from_secs(20);

/// A clock that tests set.
#[derive(Default)]
struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

async fn open(home: &TempDir) -> Consensus<Toy> {
    open_with(Options::new(home.path(), 1)).await
}

async fn open_with(options: Options) -> Consensus<Toy> {
    let consensus = Consensus::open(options).await.unwrap();
    consensus.initialize(Peer { address: "127.0.0.1:9446".into() }).await.unwrap();
    consensus.wait_ready(LONG).await.unwrap();
    consensus
}

async fn write(consensus: &Consensus<Toy>, text: &str) -> Result<u64, ProposeError> {
    consensus.propose(Write::new(text), LONG).await
}

fn texts(consensus: &Consensus<Toy>) -> Vec<String> {
    consensus.read(|toy| toy.notes.iter().map(|note| note.text.clone()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposed_command_is_applied_answered_and_readable() {
    let home = tempfile::tempdir().unwrap();
    let consensus = open(&home).await;
    assert_eq!(write(&consensus, "a").await, Ok(1));
    assert_eq!(write(&consensus, "b").await, Ok(2));
    assert_eq!(texts(&consensus), ["a", "b"]);
    assert_eq!(consensus.linearizable_read(LONG, |toy| toy.notes.len()).await, Ok(2));
    let status = consensus.status();
    assert_eq!((status.role, status.leader, status.members.len()), (Role::Leader, Some(1), 1));
    consensus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_founded_once() {
    let home = tempfile::tempdir().unwrap();
    let consensus = Consensus::<Toy>::open(Options::new(home.path(), 1)).await.unwrap();
    let peer = Peer { address: "a:1".into() };
    assert!(consensus.initialize(peer.clone()).await.unwrap());
    consensus.wait_ready(LONG).await.unwrap();
    assert!(!consensus.initialize(peer).await.unwrap());
    consensus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_a_restart_in_order() {
    let home = tempfile::tempdir().unwrap();
    for round in 0..3_usize {
        let consensus = open(&home).await;
        assert_eq!(texts(&consensus), (0..round).map(|round| format!("round {round}")).collect::<Vec<_>>());
        write(&consensus, &format!("round {round}")).await.unwrap();
        consensus.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_saved_a_snapshot_and_freed_the_directory() {
    let home = tempfile::tempdir().unwrap();
    let consensus = open(&home).await;
    write(&consensus, "a").await.unwrap();
    consensus.shutdown().await;
    let refused = write(&consensus, "b").await.unwrap_err();
    assert_eq!(refused, ProposeError::Unavailable);
    let snapshots = Snapshots::open(home.path().join("snapshots")).unwrap();
    assert!(snapshots.newest(None).unwrap().is_some());
    DataDirectory::open(home.path()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_directory_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let consensus = open(&home).await;
    let refused = Consensus::<Toy>::open(Options::new(home.path(), 1)).await.map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains(&std::process::id().to_string()), "{refused}");
    consensus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_commands_share_entries_and_fsyncs() {
    let home = tempfile::tempdir().unwrap();
    let consensus = open(&home).await;
    let before = consensus.status();
    let tasks: Vec<_> = (0..1000)
        .map(|number| {
            let consensus = consensus.clone();
            tokio::spawn(async move { write(&consensus, &number.to_string()).await.unwrap() })
        })
        .collect();
    let mut replies = Vec::new();
    for task in tasks {
        replies.push(task.await.unwrap());
    }
    replies.sort_unstable();
    assert_eq!(replies, (1..=1000).collect::<Vec<u64>>(), "each has its own reply");
    let after = consensus.status();
    let entries = after.last_log_index.unwrap() - before.last_log_index.unwrap();
    let syncs = after.log_syncs - before.log_syncs;
    assert!(entries <= 200 && syncs <= 200, "{entries} entries and {syncs} fsyncs for 1000 commands");
    consensus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_beyond_the_bound_is_refused_and_the_largest_is_not() {
    let home = tempfile::tempdir().unwrap();
    let consensus = open(&home).await;
    let quotes = r#"{"text":""}"#.len() + 1;
    let largest = "x".repeat(batcher::COMMAND_BYTES_MAX - quotes);
    assert_eq!(write(&consensus, &largest).await, Ok(1));
    let refused = write(&consensus, &format!("{largest}x")).await;
    assert!(matches!(refused, Err(ProposeError::TooLarge { .. })), "{refused:?}");
    consensus.shutdown().await;
    let consensus = open(&home).await;
    assert_eq!(texts(&consensus), [largest]);
    consensus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_waiting_commands_than_there_is_room_for_are_refused_at_once() {
    let home = tempfile::tempdir().unwrap();
    let consensus = open(&home).await;
    let taken = consensus.inner.room.clone().try_acquire_many_owned(4096).unwrap();
    assert_eq!(write(&consensus, "a").await, Err(ProposeError::Overloaded));
    drop(taken);
    assert_eq!(write(&consensus, "a").await, Ok(1));
    assert_eq!(consensus.inner.room.available_permits(), 4096, "an answered command gives its room back");
    consensus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_group_does_not_lead() {
    let home = tempfile::tempdir().unwrap();
    let consensus = Consensus::<Toy>::open(Options::new(home.path(), 1)).await.unwrap();
    let refused = consensus.propose(Write::new("a"), Duration::from_millis(50)).await;
    assert_eq!(refused, Err(ProposeError::NoLeader));
    assert_eq!(*consensus.leadership().borrow(), None);
    assert_eq!(consensus.wait_ready(Duration::from_millis(50)).await, Err(ReadError::NotLeader { leader: None }));
    consensus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn time_never_goes_back_not_even_across_a_restart() {
    let home = tempfile::tempdir().unwrap();
    for (clock_ms, expected_ms) in [(1000, 1000), (400, 1000), (2000, 2000)] {
        let mut options = Options::new(home.path(), 1);
        options.clock = Arc::new(SetClock(AtomicU64::new(clock_ms)));
        let consensus = open_with(options).await;
        write(&consensus, "a").await.unwrap();
        assert_eq!(consensus.read(|toy| toy.notes.last().map(|note| note.now_ms)), Some(expected_ms));
        consensus.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_see_each_change_and_the_end() {
    let home = tempfile::tempdir().unwrap();
    let consensus = open(&home).await;
    let mut watch = consensus.watch();
    write(&consensus, "a").await.unwrap();
    let Some(Update::Changed { changes, .. }) = watch.next().await else { panic!("no change") };
    assert_eq!(changes.as_ref(), ["a".to_owned()]);
    consensus.shutdown().await;
    drop(consensus);
    assert!(watch.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_bound_the_log_and_the_older_one_can_stand_in() {
    let home = tempfile::tempdir().unwrap();
    let mut options = Options::new(home.path(), 1);
    options.snapshot_every = 10;
    let consensus = open_with(options).await;
    for number in 0..60 {
        write(&consensus, &number.to_string()).await.unwrap();
    }
    let purged = consensus.inner.raft.wait(Some(LONG)).metrics(|now| now.purged.is_some(), "a purge").await.unwrap();
    assert!(purged.purged < purged.snapshot);
    consensus.shutdown().await;
    let snapshots = home.path().join("snapshots");
    let mut files: Vec<_> = std::fs::read_dir(&snapshots).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 2);
    let mut bytes = std::fs::read(&files[1]).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&files[1], bytes).unwrap();
    let consensus = open(&home).await;
    assert_eq!(texts(&consensus), (0..60).map(|number| number.to_string()).collect::<Vec<_>>());
    consensus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_start_has_a_number_of_its_own() {
    let home = tempfile::tempdir().unwrap();
    for start in 1..=3 {
        let consensus = open(&home).await;
        assert_eq!(consensus.generation(), start);
        write(&consensus, "a").await.unwrap();
        consensus.shutdown().await;
    }
    std::fs::remove_file(home.path().join("GENERATION")).unwrap();
    let consensus = open(&home).await;
    assert_eq!(consensus.generation(), 4, "the state knows of the third");
    assert_eq!(write(&consensus, "a").await, Ok(4));
    consensus.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_may_act_in_its_own_term_only() {
    let home = tempfile::tempdir().unwrap();
    let consensus = open(&home).await;
    let term = consensus.leadership().wait_for(Option::is_some).await.unwrap().unwrap();
    assert_eq!(consensus.propose_as_leader(term, Write::new("a"), LONG).await, Ok(1));
    let late = consensus.propose_as_leader(term - 1, Write::new("b"), LONG).await;
    assert_eq!(late, Err(ProposeError::Fenced));
    assert_eq!(texts(&consensus), ["a"]);
    let mut leadership = consensus.leadership();
    consensus.shutdown().await;
    leadership.wait_for(Option::is_none).await.unwrap();
}
