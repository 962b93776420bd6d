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
    let log = directory.live_log(make).unwrap();
    for made in [path.clone(), log, directory.snapshots().unwrap()] {
        assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o700, "{}", made.display());
    }
    assert_eq!(fs::metadata(path.join(MARKER)).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_log_is_made_once() {
    let home = tempfile::tempdir().unwrap();
    let directory = DataDirectory::open(home.path()).unwrap();
    let log = directory.live_log(make).unwrap();
    assert_eq!(directory.live_log(unwanted).unwrap(), log);
    assert!(log.join("content").exists());
}

#[test]
fn a_creation_that_was_cut_short_starts_over() {
    let home = tempfile::tempdir().unwrap();
    let directory = DataDirectory::open(home.path()).unwrap();
    fs::create_dir(home.path().join("log-000001.new")).unwrap();
    fs::write(home.path().join("log-000001.new/torn"), b"").unwrap();
    let log = directory.live_log(make).unwrap();
    assert!(log.join("content").exists() && !log.join("torn").exists());
}

#[test]
fn a_creation_that_died_after_the_marker_is_completed() {
    let home = tempfile::tempdir().unwrap();
    let directory = DataDirectory::open(home.path()).unwrap();
    let log = directory.live_log(make).unwrap();
    fs::rename(&log, home.path().join("log-000001.new")).unwrap();
    assert_eq!(directory.live_log(unwanted).unwrap(), log);
    assert!(log.join("content").exists());
}

#[test]
fn a_log_whose_marker_is_lost_is_refused_and_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let directory = DataDirectory::open(home.path()).unwrap();
    let log = directory.live_log(make).unwrap();
    fs::remove_file(home.path().join(MARKER)).unwrap();
    let refused = directory.live_log(unwanted);
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
        ("muster data 2\nlog log-000001\n", "format 2"),
    ] {
        fs::write(home.path().join(MARKER), text).unwrap();
        let refused = directory.live_log(unwanted).unwrap_err().to_string();
        assert!(refused.contains(named), "{text:?}: {refused}");
    }
}

#[test]
fn a_replaced_log_is_live_and_the_old_one_is_gone() {
    let home = tempfile::tempdir().unwrap();
    let directory = DataDirectory::open(home.path()).unwrap();
    let old = directory.live_log(make).unwrap();
    let new = directory.replace_log(make).unwrap();
    assert_eq!(directory.live_log(unwanted).unwrap(), new);
    assert!(!old.exists());
}
