use super::*;
use crate::backup::archive::tests::{mk_archive, mk_head, mk_snapshot};

fn mk_passphrase(text: &str) -> BackupKey {
    BackupKey::of_passphrase(Zeroizing::new(text.to_owned())).unwrap()
}

fn mk_key(byte: u8) -> BackupKey {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, [byte; 32]).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    BackupKey::of_file(&path).unwrap()
}

fn mk_file(key: &BackupKey, chunks: usize) -> Vec<u8> {
    let private = SealingPrivateKey::generate().unwrap();
    let archive = mk_archive(&private.public(), chunks);
    let mut writer = Writer::new(Vec::new(), key, private).unwrap();
    assert_eq!(writer.header(archive.header()).unwrap(), mk_head());
    archive.for_each(|chunk| writer.chunk(&chunk.unwrap()).unwrap());
    let (bytes, length) = writer.finish().unwrap();
    assert_eq!(bytes.len() as u64, length);
    bytes
}

#[test]
fn a_backup_opens_with_its_key_file_and_with_its_passphrase() {
    for key in [mk_key(1), mk_passphrase("correct horse battery")] {
        let file = BackupFile::parse(mk_file(&key, 2)).unwrap();
        assert_eq!(file.head(), &mk_head());
        assert_eq!(file.open(&key).unwrap().state.to_snapshot().unwrap(), mk_snapshot(2));
    }
}

#[test]
fn the_wrong_key_is_told_from_the_wrong_kind_of_key_and_from_damage() {
    let file = BackupFile::parse(mk_file(&mk_key(1), 1)).unwrap();
    assert!(matches!(file.open(&mk_key(2)), Err(BackupError::WrongKey)));
    let other = mk_passphrase("correct horse battery");
    assert!(matches!(file.open(&other), Err(BackupError::OtherKind)));
    let file = BackupFile::parse(mk_file(&other, 1)).unwrap();
    assert!(matches!(file.open(&mk_passphrase("incorrect horse battery")), Err(BackupError::WrongKey)));
}

#[test]
fn a_file_that_was_cut_anywhere_is_called_cut_off() {
    let bytes = mk_file(&mk_key(1), 2);
    for at in (1..200).chain((200..bytes.len()).step_by(997)).chain(bytes.len() - 40..bytes.len()) {
        let error = BackupFile::parse(bytes[..at].to_vec()).unwrap_err();
        assert!(matches!(error, BackupError::Truncated { bytes } if bytes == at), "cut at {at}: {error}");
    }
    assert!(matches!(BackupFile::parse(Vec::new()), Err(BackupError::NotABackup)));
}

#[test]
fn a_file_with_any_other_byte_is_not_opened() {
    let (key, bytes) = (mk_key(1), mk_file(&mk_key(1), 2));
    for at in (0..400).chain((400..bytes.len()).step_by(613)).chain(bytes.len() - 40..bytes.len()) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        let error = BackupFile::parse(damaged).unwrap_err();
        let damage = matches!(error, BackupError::Damaged | BackupError::Truncated { .. });
        let foreign = matches!(error, BackupError::NotABackup | BackupError::Format { .. }) && at < 12;
        assert!(damage || foreign, "byte {at}: {error}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(matches!(BackupFile::parse(longer), Err(BackupError::Damaged)));
    let _ = key;
}

/// Somebody who may write the file can mend its checksum; the archive does not open all the same.
#[test]
fn a_mended_checksum_hides_nothing() {
    let (key, bytes) = (mk_key(1), mk_file(&mk_key(1), 2));
    let file = BackupFile::parse(bytes.clone()).unwrap();
    for at in [file.header.start + 40, file.chunks[0].start, file.chunks[1].end - 1, 20, 60] {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        let end = altered.len() - DIGEST_BYTES;
        let digest = Sha256::digest(&altered[..end]);
        altered[end..].copy_from_slice(&digest);
        let opened = BackupFile::parse(altered).and_then(|file| file.open(&key));
        assert!(opened.is_err(), "byte {at}");
    }
}

#[test]
fn parts_that_come_out_of_order_or_not_at_all_are_not_kept() {
    let key = mk_key(1);
    let mk_writer = || {
        let private = SealingPrivateKey::generate().unwrap();
        let archive = mk_archive(&private.public(), 2);
        (Writer::new(Vec::new(), &key, private).unwrap(), archive)
    };
    let (mut writer, mut archive) = mk_writer();
    let (header, first) = (archive.header().to_vec(), archive.next().unwrap().unwrap());
    assert!(writer.chunk(&first).is_err(), "a chunk before the header");
    writer.header(&header).unwrap();
    assert!(writer.header(&header).is_err(), "a second header");
    writer.chunk(&first).unwrap();
    assert!(writer.chunk(&first).is_err(), "a chunk twice");
    assert!(matches!(writer.finish().map(|_| ()), Err(BackupError::Incomplete)));
    let (mut writer, _) = mk_writer();
    let (_, foreign) = mk_writer();
    assert!(writer.header(foreign.header()).is_err(), "an archive that was sealed to somebody else");
}

#[test]
fn nothing_of_the_contents_can_be_read_in_the_file() {
    let bytes = mk_file(&mk_key(1), 2);
    let text = String::from_utf8_lossy(&bytes);
    for word in ["clusters", "enrolment_tokens", "prod", "epochs"] {
        assert!(!text.contains(word), "{word}");
    }
}

/// A backup of format 1 with the key file of 32 times the byte 1. It must open for ever.
#[test]
#[expect(clippy::disallowed_methods, reason = "the one word that lets a test write")]
fn a_backup_that_was_made_long_ago_still_opens() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/backup/file/format-1.muster");
    if std::env::var_os("MUSTER_BLESS").is_some_and(|word| word == "1") && !path.exists() {
        std::fs::write(&path, mk_file(&mk_key(1), 1)).unwrap();
    }
    let contents = BackupFile::read(&path).unwrap().open(&mk_key(1)).unwrap();
    assert_eq!(contents.head, mk_head());
    assert!(contents.state.cluster_named("prod").is_some());
    assert_eq!(contents.keys.iter().map(crate::seal::DataKey::epoch).collect::<Vec<_>>(), [1]);
}
