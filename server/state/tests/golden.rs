//! Stored encodings, frozen: what is in a log or a snapshot today must be read by every later Muster, and written the
//! same by every replica. A changed file here is a changed disk format. `MUSTER_BLESS=1` writes what is missing or
//! was meant to change; old forms that are no longer written stay in `golden/old/` and must keep decoding.

pub(crate) mod samples;

use std::{collections::BTreeSet, fs, path::PathBuf};

use muster_state::{Command, Refusal, Reply, State, Verb};
use serde::{Serialize, de::DeserializeOwned};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

#[expect(clippy::disallowed_methods, reason = "the one word that lets a test write")]
fn is_blessed() -> bool {
    std::env::var_os("MUSTER_BLESS").is_some_and(|word| word == "1")
}

/// Compares a value with its file, byte for byte, and reads the file back as the value.
#[track_caller]
fn frozen<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(name: &str, value: &T) {
    let path = golden(&format!("{name}.json"));
    let mut text = serde_json::to_string(value).expect("it is JSON");
    text.push('\n');
    if is_blessed() {
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(&path, &text).expect("a golden file");
    }
    let kept = fs::read_to_string(&path);
    let kept = kept.unwrap_or_else(|err| panic!("{}: {err}; see the head of tests/golden.rs", path.display()));
    assert_eq!(text, kept, "{name}: the stored encoding has changed");
    assert_eq!(&serde_json::from_str::<T>(&kept).expect("it decodes"), value);
}

#[test]
fn every_command_is_written_as_it_always_was() {
    let mut seen = BTreeSet::new();
    for (name, command) in samples::commands() {
        assert!(name.starts_with(command.verb.name()), "{name} is no {}", command.verb.name());
        seen.insert(command.verb.name());
        frozen(&format!("command/{name}"), &command);
    }
    let all: BTreeSet<&str> = Verb::NAMES.iter().copied().collect();
    assert_eq!(seen, all, "a verb without a golden file");
}

#[test]
fn every_reply_is_written_as_it_always_was() {
    let mut seen = BTreeSet::new();
    for (name, reply) in samples::replies() {
        seen.insert(reply.verb_name());
        frozen(&format!("reply/{name}"), &Ok::<Reply, Refusal>(reply));
    }
    let all: BTreeSet<&str> = Verb::NAMES.iter().copied().collect();
    assert_eq!(seen, all, "a reply without a golden file");
}

#[test]
fn every_refusal_is_written_as_it_always_was() {
    let mut seen = BTreeSet::new();
    for refusal in samples::refusals() {
        let word = samples::variant(&refusal);
        seen.insert(word);
        frozen(&format!("refusal/{word}"), &Err::<Reply, Refusal>(refusal));
    }
    assert_eq!(seen.len(), samples::REFUSALS, "a refusal without a golden file");
}

#[test]
fn a_snapshot_of_a_rich_state_is_written_as_it_always_was() {
    let state = samples::rich();
    let snapshot = state.to_snapshot().expect("a snapshot");
    let path = golden("snapshot-1.json");
    if is_blessed() {
        fs::write(&path, &snapshot).expect("a golden file");
    }
    let kept = fs::read(&path).expect("a golden file");
    assert!(kept == snapshot, "the bytes of a snapshot have changed");
    let read = State::from_snapshot(&kept).expect("it decodes");
    assert_eq!(read, state);
}

#[test]
fn what_is_known_of_etcd_is_written_as_it_always_was() {
    let (view, permit) = samples::linking::etcd();
    frozen("record/EtcdView", &view);
    frozen("record/Permit-that-waits-for-evidence", &permit);
}

#[test]
fn a_request_that_is_held_is_written_as_it_always_was() {
    frozen("record/JudgedRequest-held", &samples::linking::held());
}

#[test]
fn old_forms_are_still_read() {
    let mut read = 0;
    for entry in fs::read_dir(golden("old")).expect("the directory of old forms") {
        let path = entry.expect("a file").path();
        let text = fs::read_to_string(&path).expect("a text");
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("snapshot") {
            State::from_snapshot(text.as_bytes()).unwrap_or_else(|err| panic!("{name}: {err}"));
        } else {
            serde_json::from_str::<Command>(&text).unwrap_or_else(|err| panic!("{name}: {err}"));
        }
        read += 1;
    }
    assert!(read > 0, "old forms are kept, not deleted");
}

#[test]
fn an_entry_that_is_not_known_is_not_read() {
    for bad in [
        r#"{"verb":{"Levitate":{}}}"#,
        r#"{"verb":{"Sweep":{}},"later":1}"#,
        r#"{"request":{"caller":"a","id":"b"},"verb":{"Sweep":{}}}"#,
    ] {
        assert!(serde_json::from_str::<Command>(bad).is_err(), "{bad}");
    }
}
