use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::seal::{DataKey, WrapContext};

const PHRASE: &str = "correct horse battery";

/// A directory with one file of this content and mode.
fn mk_file(content: &[u8], mode: u32) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("seal.key");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    (directory, path)
}

fn load_with(source: &KeySource, variable: Option<&str>, input: &str) -> Result<SealKey, KeySourceError> {
    let environment = |name: &str| (name == "PHRASE").then(|| variable.map(str::to_owned)).flatten();
    source.load(&mut Surroundings { environment: &environment, input: &mut input.as_bytes() })
}

fn load(source: &KeySource) -> Result<SealKey, KeySourceError> {
    load_with(source, None, "")
}

/// Whether two seal keys are the same: one opens what the other wrapped.
fn same(a: &SealKey, b: &SealKey) -> bool {
    let context = WrapContext { fleet: "f", server: "1" };
    let wrapped = DataKey::generate(1).unwrap().wrap(a, &context).unwrap();
    DataKey::unwrap(b, &context, 1, &wrapped).is_ok()
}

#[test]
fn a_key_file_holds_bytes_or_digits() {
    let digits = "ab".repeat(32);
    let expected = SealKey::from_bytes(&[0xab; 32]).unwrap();
    for content in
        [&[0xab; 32][..], digits.as_bytes(), format!("{digits}\n").as_bytes(), format!("{digits}\r\n").as_bytes()]
    {
        let (_directory, path) = mk_file(content, 0o600);
        assert!(same(&load(&KeySource::File(path)).unwrap(), &expected));
    }
}

#[test]
fn a_key_file_of_another_length_is_refused_without_showing_it() {
    for content in ["", "canary", &"ab".repeat(31), &"ab".repeat(33), &"zz".repeat(32)] {
        let (_directory, path) = mk_file(content.as_bytes(), 0o400);
        let error = load(&KeySource::File(path.clone())).unwrap_err();
        let cause = SealKeyError::Length { bytes: content.len() };
        assert_eq!(error, KeySourceError::Key { what: path.display().to_string(), cause });
        assert!(!error.to_string().contains("canary"));
    }
    let (_directory, path) = mk_file(&[b'a'; 5000], 0o600);
    assert!(matches!(load(&KeySource::File(path)), Err(KeySourceError::Unreadable { .. })));
}

#[test]
fn a_key_file_that_others_can_get_at_is_refused_with_the_fix() {
    for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o777] {
        let (_directory, path) = mk_file(&[1; 32], mode);
        let phrase = KeySource::Passphrase(PassphraseSource::File(path.clone()));
        for source in [KeySource::File(path.clone()), phrase] {
            let error = load(&source).unwrap_err();
            assert_eq!(error, KeySourceError::ReadableByOthers { path: path.clone(), mode });
            assert!(error.to_string().contains("chmod 0600"), "{error}");
        }
    }
    for mode in [0o600, 0o400, 0o700] {
        let (_directory, path) = mk_file(&[1; 32], mode);
        load(&KeySource::File(path)).unwrap();
    }
}

#[test]
fn a_missing_file_and_a_directory_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let gone = directory.path().join("gone");
    let error = load(&KeySource::File(gone.clone())).unwrap_err();
    assert!(error.to_string().contains("gone") && matches!(error, KeySourceError::Unreadable { .. }));
    let error = load(&KeySource::File(directory.path().to_owned())).unwrap_err();
    assert_eq!(error, KeySourceError::NotAFile { path: directory.path().to_owned() });
}

#[test]
fn a_credential_is_a_plain_name_in_the_credentials_directory() {
    let (directory, _) = mk_file(&[0xab; 32], 0o440);
    let credential =
        |name: &str| KeySource::Credential { directory: directory.path().to_owned(), name: name.to_owned() };
    let key = load(&credential("seal.key")).unwrap();
    assert!(same(&key, &SealKey::from_bytes(&[0xab; 32]).unwrap()));
    for name in ["", ".", "..", "../seal.key", "/etc/passwd"] {
        assert_eq!(load(&credential(name)).unwrap_err(), KeySourceError::CredentialName);
    }
    assert!(matches!(load(&credential("other")), Err(KeySourceError::Unreadable { .. })));
}

#[test]
fn a_passphrase_is_the_same_from_file_environment_and_input() {
    let (_directory, path) = mk_file(format!("{PHRASE}\n").as_bytes(), 0o600);
    let expected = SealKey::from_passphrase(SecretText::from(PHRASE.to_owned())).unwrap();
    let file = KeySource::Passphrase(PassphraseSource::File(path));
    let variable = KeySource::Passphrase(PassphraseSource::Environment { variable: "PHRASE".to_owned() });
    let input = KeySource::Passphrase(PassphraseSource::StandardInput);
    let key = load(&file).unwrap();
    assert!(same(&expected, &key));
    let key = load_with(&variable, Some(PHRASE), "").unwrap();
    assert!(same(&expected, &key));
    let key = load_with(&input, None, &format!("{PHRASE}\r\nnext line\n")).unwrap();
    assert!(same(&expected, &key));
    let error = load(&variable).unwrap_err();
    assert_eq!(error, KeySourceError::NotSet { variable: "PHRASE".to_owned() });
}

#[test]
fn a_short_or_unreadable_passphrase_is_refused_without_showing_it() {
    let input = KeySource::Passphrase(PassphraseSource::StandardInput);
    let error = load_with(&input, None, "canary\n").unwrap_err();
    let cause = SealKeyError::ShortPassphrase { characters: 6 };
    assert_eq!(error, KeySourceError::Key { what: "standard input".to_owned(), cause });
    assert!(!format!("{error} {error:?}").contains("canary"));
    assert!(load_with(&input, None, "").is_err());
    let (_directory, path) = mk_file(&[0xff; 20], 0o600);
    let file = KeySource::Passphrase(PassphraseSource::File(path));
    assert!(matches!(load(&file), Err(KeySourceError::NotText { .. })));
}

#[test]
fn a_new_key_file_is_private_and_loads_as_the_key_it_was_made_with() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("seal.key");
    let key = create_key_file(&path).unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.len()), (0o600, 65));
    assert!(same(&load(&KeySource::File(path)).unwrap(), &key));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    let other = create_key_file(&directory.path().join("other.key")).unwrap();
    assert!(!same(&other, &key));
}

#[test]
fn a_key_file_is_never_overwritten() {
    let (directory, path) = mk_file(b"what was there", 0o600);
    let error = create_key_file(&path).unwrap_err();
    assert_eq!(error, KeySourceError::Exists { path: path.clone() });
    assert_eq!(fs::read(&path).unwrap(), b"what was there");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    let nowhere = directory.path().join("gone/seal.key");
    assert!(matches!(create_key_file(&nowhere), Err(KeySourceError::Unwritable { .. })));
}
