use std::path::PathBuf;

use super::*;
use crate::storage::engine::testing::on_each_engine;
use crate::storage::{Opened, PurgePoint, Record, Store};

fn mk_record(index: u64) -> Record {
    // Some in several pieces.
    let bytes = if index.is_multiple_of(7) { 10_000 } else { 100 };
    Record { index, payload: vec![u8::try_from(index % 251).unwrap(); bytes] }
}

/// What a store says of itself when it is opened, all its records, and the path of its log.
type Seen = (Opened, Vec<(u64, Vec<u8>)>, PathBuf);

async fn visit(home: &Path, engine: Engine, work: impl AsyncFnOnce(&Store)) -> Result<Seen, Error> {
    let directory = DataDirectory::open(home).unwrap();
    let (store, thread, opened) = Store::open(&directory, 3, engine)?;
    work(&store).await;
    let records = store.read(0..u64::MAX, usize::MAX).await.unwrap();
    drop(store);
    tokio::task::spawn_blocking(move || thread.join()).await.unwrap();
    let path = directory.live_log(engine, |_| panic!("a log is there")).unwrap();
    Ok((opened, records, path))
}

async fn fill(home: &Path, engine: Engine) -> Seen {
    let work = async |store: &Store| {
        store.save_vote(b"vote".to_vec()).await.unwrap();
        store.append((0..60).map(mk_record).collect(), Box::new(|| {})).await.unwrap();
        store.truncate(50).await.unwrap();
        store.purge(PurgePoint { index: 9, detail: b"nine".to_vec() }).await.unwrap();
        store.note_committed(b"committed".to_vec()).await.unwrap();
    };
    visit(home, engine, work).await.unwrap();
    visit(home, engine, async |_| {}).await.unwrap()
}

fn other(engine: Engine) -> Engine {
    Engine::ALL.into_iter().find(|other| *other != engine).unwrap()
}

on_each_engine!(a_converted_log_is_the_same_under_the_other_engine);
async fn a_converted_log_is_the_same_under_the_other_engine(from: Engine) {
    let (home, to) = (tempfile::tempdir().unwrap(), other(from));
    let (opened, records, path) = fill(home.path(), from).await;
    assert_eq!((opened.present.clone(), records.len()), (10..50, 40));
    let refused = visit(home.path(), to, async |_| {}).await.unwrap_err();
    assert!(matches!(refused, Error::OtherEngine { .. }), "{refused}");
    assert_eq!(convert(home.path(), to).unwrap().from, from);
    let after = visit(home.path(), to, async |_| {}).await.unwrap();
    assert_eq!((&after.0, &after.1), (&opened, &records));
    assert!(!path.exists() && after.2 != path, "{}", path.display());
    visit(home.path(), to, async |store| store.append(vec![mk_record(50)], Box::new(|| {})).await.unwrap())
        .await
        .unwrap();
    assert_eq!(convert(home.path(), from).unwrap().from, to);
    let back = visit(home.path(), from, async |_| {}).await.unwrap();
    assert_eq!((back.0.present, back.0.vote), (10..51, Some(b"vote".to_vec())));
}

on_each_engine!(a_log_that_is_there_already_is_left_as_it_is);
async fn a_log_that_is_there_already_is_left_as_it_is(engine: Engine) {
    let home = tempfile::tempdir().unwrap();
    let before = fill(home.path(), engine).await;
    let done = convert(home.path(), engine).unwrap();
    assert!(done.from == engine && done.live_bytes > 40 * 100, "{done:?}");
    assert_eq!(visit(home.path(), engine, async |_| {}).await.unwrap(), before);
}

#[test]
fn nothing_is_made_where_there_is_no_log() {
    let home = tempfile::tempdir().unwrap();
    for missing in [home.path().join("nowhere"), home.path().to_owned()] {
        let refused = convert(&missing, Engine::Redb).unwrap_err();
        assert!(matches!(refused, Error::NoLog { .. }), "{refused}");
    }
    assert!(!home.path().join("nowhere").exists());
}

on_each_engine!(the_log_of_a_server_that_runs_is_left_alone);
async fn the_log_of_a_server_that_runs_is_left_alone(engine: Engine) {
    let home = tempfile::tempdir().unwrap();
    fill(home.path(), engine).await;
    let directory = DataDirectory::open(home.path()).unwrap();
    let refused = convert(home.path(), other(engine)).unwrap_err();
    assert!(matches!(refused, Error::Locked { .. }), "{refused}");
    drop(directory);
    visit(home.path(), engine, async |_| {}).await.unwrap();
}

on_each_engine!(a_damaged_log_is_not_converted);
async fn a_damaged_log_is_not_converted(engine: Engine) {
    let home = tempfile::tempdir().unwrap();
    let (_, _, path) = fill(home.path(), engine).await;
    let mut backend = engine.open(&path).unwrap();
    let mut batch = Batch::default();
    batch.delete(record::record_key(20, 0));
    backend.write(&batch).unwrap();
    backend.close().unwrap();
    drop(backend);
    let refused = convert(home.path(), other(engine)).unwrap_err();
    assert!(matches!(refused, Error::Damaged { .. }), "{refused}");
    assert_eq!(DataDirectory::open(home.path()).unwrap().engine().unwrap(), Some(engine));
}

on_each_engine!(a_log_that_outgrew_what_lives_in_it_is_written_anew_at_the_next_start);
async fn a_log_that_outgrew_what_lives_in_it_is_written_anew_at_the_next_start(engine: Engine) {
    let home = tempfile::tempdir().unwrap();
    let (_, records, path) = fill(home.path(), engine).await;
    let waste = path.join("waste");
    fs::write(&waste, vec![1; usize::try_from(SLACK_BYTES / 2).unwrap()]).unwrap();
    let (_, _, same) = visit(home.path(), engine, async |_| {}).await.unwrap();
    assert_eq!(same, path, "within the bound nothing is touched");
    fs::write(&waste, vec![1; usize::try_from(SLACK_BYTES).unwrap() + 8 * 1024 * 1024]).unwrap();
    let (opened, after, anew) = visit(home.path(), engine, async |_| {}).await.unwrap();
    assert!(anew != path && !path.exists() && anew.is_dir());
    assert_eq!((opened.present, after), (10..50, records));
    assert!(disk_bytes(&anew).unwrap() < SLACK_BYTES / 4, "{}", disk_bytes(&anew).unwrap());
    assert_eq!(visit(home.path(), engine, async |_| {}).await.unwrap().2, anew, "once is enough");
}
