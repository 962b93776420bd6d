use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn make(path: &Path) -> Result<(), Error> {
    fs::write(path.join("content"), b"x").map_err(Error::io("write", path))
}

fn unwanted(_: &Path) -> Result<(), Error> {
    panic!("a log that is there was made anew")
}

#[test]
fn a_second_server_is_told_who_owns_the_directory() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    let _first = DataDirectory::open(&path).unwrap();
    let refused = DataDirectory::open(&path).unwrap_err().to_string();
    assert!(refused.contains(&path.display().to_string()), "{refused}");
    assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
}

#[test]
fn the_directory_is_free_again_once_its_owner_is_gone() {
    let home = tempfile::tempdir().unwrap();
    drop(DataDirectory::open(home.path()).unwrap());
    DataDirectory::open(home.path()).unwrap();
}

#[test]
fn what_is_made_is_closed_to_others() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    let directory = DataDirectory::open(&path).unwrap();
    let log = directory.live_log(Engine::Sled, make).unwrap();
    for made in [path.clone(), log, directory.snapshots().unwrap()] {
        assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o700, "{}", made.display());
    }
    assert_eq!(fs::metadata(path.join(MARKER)).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_log_is_made_once() {
    let home = tempfile::tempdir().unwrap();
    let directory = DataDirectory::open(home.path()).unwrap();
    let log = directory.live_log(Engine::Sled, make).unwrap();
    assert_eq!(directory.live_log(Engine::Sled, unwanted).unwrap(), log);
    assert!(log.join("content").exists());
}

#[test]
fn a_creation_that_was_cut_short_starts_over() {
    let home = tempfile::tempdir().unwrap();
    let directory = DataDirectory::open(home.path()).unwrap();
    fs::create_dir(home.path().join("log-000001.new")).unwrap();
    fs::write(home.path().join("log-000001.new/torn"), b"").unwrap();
    let log = directory.live_log(Engine::Sled, make).unwrap();
    assert!(log.join("content").exists() && !log.join("torn").exists());
}

#[test]
fn a_creation_that_died_after_the_marker_is_completed() {
    let home = tempfile::tempdir().unwrap();
    let directory = DataDirectory::open(home.path()).unwrap();
    let log = directory.live_log(Engine::Sled, make).unwrap();
    fs::rename(&log, home.path().join("log-000001.new")).unwrap();
    assert_eq!(directory.live_log(Engine::Sled, unwanted).unwrap(), log);
    assert!(log.join("content").exists());
}

#[test]
fn a_log_whose_marker_is_lost_is_refused_and_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let directory = DataDirectory::open(home.path()).unwrap();
    let log = directory.live_log(Engine::Sled, make).unwrap();
    fs::remove_file(home.path().join(MARKER)).unwrap();
    let refused = directory.live_log(Engine::Sled, unwanted);
    assert!(matches!(refused, Err(Error::Damaged { .. })), "{refused:?}");
    assert!(log.join("content").exists());
}

#[test]
fn a_marker_that_names_nothing_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let directory = DataDirectory::open(home.path()).unwrap();
    for (text, named) in [
        ("", "not a marker"),
        ("muster data 1\nlog ../elsewhere\n", "names no log"),
        ("muster data 1\nlog log-000007\n", "log-000007, which is not there"),
        ("muster data 3\nlog log-000001\n", "format 3"),
        ("muster data 2\nlog log-000001\n", "no engine"),
        ("muster data 2\nlog log-000001\nengine leveldb\n", "no engine"),
    ] {
        fs::write(home.path().join(MARKER), text).unwrap();
        let refused = directory.live_log(Engine::Sled, unwanted).unwrap_err().to_string();
        assert!(refused.contains(named), "{text:?}: {refused}");
    }
}

#[test]
fn a_replaced_log_is_live_and_the_old_one_is_gone() {
    let home = tempfile::tempdir().unwrap();
    let directory = DataDirectory::open(home.path()).unwrap();
    let old = directory.live_log(Engine::Sled, make).unwrap();
    let new = directory.replace_log(Engine::Redb, make).unwrap();
    assert_eq!(directory.live_log(Engine::Redb, unwanted).unwrap(), new);
    assert!(!old.exists());
}

#[test]
fn a_log_is_opened_only_by_the_engine_that_wrote_it() {
    for (wrote, asked) in [(Engine::Sled, Engine::Redb), (Engine::Redb, Engine::Sled)] {
        let home = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(home.path()).unwrap();
        assert_eq!(directory.engine().unwrap(), None);
        directory.live_log(wrote, make).unwrap();
        assert_eq!(directory.engine().unwrap(), Some(wrote));
        let refused = directory.live_log(asked, unwanted).unwrap_err().to_string();
        let [kept, asked] = [format!("kept by {wrote}"), format!("\"{asked}\"")];
        assert!(refused.contains(&kept) && refused.contains(&asked), "{refused}");
        assert!(refused.contains("muster storage convert"), "{refused}");
        directory.live_log(wrote, unwanted).unwrap();
    }
}

#[test]
fn the_stored_bytes_of_the_marker_never_change() {
    for (engine, text) in [
        (Engine::Sled, "muster data 1\nlog log-000001\nengine sled\n"),
        (Engine::Redb, "muster data 2\nlog log-000001\nengine redb\n"),
    ] {
        let home = tempfile::tempdir().unwrap();
        DataDirectory::open(home.path()).unwrap().live_log(engine, make).unwrap();
        assert_eq!(fs::read_to_string(home.path().join(MARKER)).unwrap(), text);
    }
}

#[test]
fn a_marker_from_before_there_was_a_choice_means_sled() {
    let home = tempfile::tempdir().unwrap();
    let directory = DataDirectory::open(home.path()).unwrap();
    let log = directory.live_log(Engine::Sled, make).unwrap();
    fs::write(home.path().join(MARKER), "muster data 1\nlog log-000001\n").unwrap();
    assert_eq!(directory.live_log(Engine::Sled, unwanted).unwrap(), log);
}

#[test]
fn starts_are_counted_and_no_number_comes_twice() {
    let home = tempfile::tempdir().unwrap();
    let count = |at_least| DataDirectory::open(home.path()).unwrap().next_generation(at_least);
    assert_eq!((count(0).unwrap(), count(0).unwrap(), count(7).unwrap(), count(2).unwrap()), (1, 2, 7, 8));
    let path = home.path().join("GENERATION");
    assert_eq!(fs::read_to_string(&path).unwrap(), "muster generation 8\n");
    for damaged in ["", "muster generation 8", "muster generation x\n", "8\n"] {
        fs::write(&path, damaged).unwrap();
        assert!(matches!(count(0), Err(Error::Damaged { .. })), "{damaged}");
    }
}
