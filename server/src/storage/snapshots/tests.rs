use proptest::prelude::*;

use super::*;

fn mk_snapshot(index: u64) -> Snapshot {
    Snapshot { index, meta: b"meta".to_vec(), state: format!("state at {index}").into_bytes() }
}

fn mk_saved(indices: &[u64]) -> (tempfile::TempDir, Snapshots) {
    let home = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(home.path().to_owned()).unwrap();
    for index in indices {
        snapshots.save(&mk_snapshot(*index)).unwrap();
    }
    (home, snapshots)
}

fn damage(home: &tempfile::TempDir, index: u64) {
    let path = home.path().join(file_name(index));
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn the_newest_two_are_kept_and_the_newest_is_given() {
    let (_home, snapshots) = mk_saved(&[10, 30, 20]);
    assert_eq!(snapshots.indices().unwrap(), [20, 30]);
    assert_eq!(snapshots.newest(Some(30)).unwrap(), Some(mk_snapshot(30)));
}

#[test]
fn the_log_must_reach_back_to_the_older_of_two() {
    let (_home, snapshots) = mk_saved(&[10]);
    assert_eq!(snapshots.fallback().unwrap(), None);
    snapshots.save(&mk_snapshot(20)).unwrap();
    assert_eq!(snapshots.fallback().unwrap(), Some(10));
    snapshots.save(&mk_snapshot(30)).unwrap();
    assert_eq!(snapshots.fallback().unwrap(), Some(20));
}

#[test]
fn a_fresh_server_has_none() {
    let (_home, snapshots) = mk_saved(&[]);
    assert_eq!(snapshots.newest(None).unwrap(), None);
}

#[test]
fn a_damaged_one_is_passed_over_when_the_log_reaches_back_to_the_older() {
    let (home, snapshots) = mk_saved(&[10, 20]);
    damage(&home, 20);
    assert_eq!(snapshots.newest(Some(10)).unwrap(), Some(mk_snapshot(10)));
    assert_eq!(snapshots.newest(None).unwrap(), Some(mk_snapshot(10)));
}

#[test]
fn a_damaged_one_that_the_log_cannot_do_without_is_refused() {
    let (home, snapshots) = mk_saved(&[10, 20]);
    damage(&home, 20);
    let refused = snapshots.newest(Some(15)).unwrap_err().to_string();
    assert!(refused.contains("begins after record 15") && refused.contains("checksum"), "{refused}");
}

#[test]
fn a_purged_log_without_any_snapshot_is_refused() {
    let (_home, snapshots) = mk_saved(&[]);
    let refused = snapshots.newest(Some(15)).unwrap_err().to_string();
    assert!(refused.contains("there is none"), "{refused}");
}

#[test]
fn a_file_under_another_index_is_refused() {
    let (home, snapshots) = mk_saved(&[10]);
    fs::rename(home.path().join(file_name(10)), home.path().join(file_name(99))).unwrap();
    assert!(snapshots.newest(Some(10)).is_err());
}

#[test]
fn what_a_crash_left_unfinished_is_removed() {
    let (home, _) = mk_saved(&[10]);
    let unfinished = home.path().join("snapshot-00000000000000000020.muster.new");
    fs::write(&unfinished, b"torn").unwrap();
    let snapshots = Snapshots::open(home.path().to_owned()).unwrap();
    assert!(!unfinished.exists());
    assert_eq!(snapshots.newest(None).unwrap(), Some(mk_snapshot(10)));
}

#[test]
fn the_stored_bytes_of_format_1_never_change() {
    let bytes = render(&Snapshot { index: 0x0102, meta: b"m".to_vec(), state: b"st".to_vec() }).unwrap();
    assert_eq!(
        hex::encode(bytes),
        concat!(
            "4d555354534e4150",
            "00000001",
            "0000000000000102",
            "00000001",
            "0000000000000002",
            "6d",
            "7374",
            "68ca61c588581a827d1cd0d157287408415a736c551b9e31f98122b6d9307cac",
        ),
    );
}

proptest! {
    #[test]
    fn a_snapshot_comes_back_as_it_was_saved(index: u64, meta: Vec<u8>, state: Vec<u8>) {
        let snapshot = Snapshot { index, meta, state };
        let bytes = render(&snapshot).unwrap();
        prop_assert_eq!(parse(Path::new("x"), index, bytes).unwrap(), snapshot);
    }

    #[test]
    fn any_flipped_bit_or_cut_is_found(state: Vec<u8>, at: prop::sample::Index, bit in 0..8_u32) {
        let snapshot = Snapshot { index: 7, meta: b"meta".to_vec(), state };
        let mut bytes = render(&snapshot).unwrap();
        let at = at.index(bytes.len());
        let cut = bytes[..at].to_vec();
        bytes[at] ^= 1 << bit;
        prop_assert!(parse(Path::new("x"), 7, bytes).is_err());
        prop_assert!(parse(Path::new("x"), 7, cut).is_err());
    }
}
