use super::*;
use crate::api::fixture::mk_state;

const MADE_MS: u64 = 1_795_305_600_000;

pub(crate) fn mk_head() -> Head {
    Head { fleet: "fleet".into(), made_ms: MADE_MS, index: 42, version: "0.1.0".into() }
}

/// A state of `chunks` chunks, more or less.
pub(crate) fn mk_snapshot(chunks: usize) -> Vec<u8> {
    let mut state = mk_state();
    let certificate = &mut state.clusters.values_mut().next().unwrap().certificates[0];
    certificate.pem = "x".repeat(chunks.saturating_sub(1) * CHUNK_BYTES);
    state.to_snapshot().unwrap()
}

pub(crate) fn mk_archive(to: &SealingPublicKey, chunks: usize) -> Archive {
    let keys = [DataKey::from_bytes(1, &[7; 32]).unwrap()];
    Archive::new(to, &mk_head(), &keys, &mk_snapshot(chunks)).unwrap()
}

fn mk_sealed(to: &SealingPublicKey, chunks: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let archive = mk_archive(to, chunks);
    (archive.header().to_vec(), archive.map(Result::unwrap).collect())
}

fn open(key: &SealingPrivateKey, header: &[u8], chunks: &[Vec<u8>]) -> Result<Contents, BackupError> {
    let mut opening = Opening::new(key, header)?;
    let mut plain = Vec::new();
    for chunk in chunks {
        plain.extend_from_slice(&opening.open(chunk)?);
    }
    if !opening.is_complete() {
        return Err(BackupError::Incomplete);
    }
    Contents::parse(opening.head().clone(), &plain)
}

fn mk_key() -> SealingPrivateKey {
    SealingPrivateKey::generate().unwrap()
}

#[test]
fn what_was_sealed_is_opened_whatever_its_length() {
    let key = mk_key();
    for chunks in 1..4 {
        let (header, sealed) = mk_sealed(&key.public(), chunks);
        assert!(sealed.len() >= chunks && sealed.iter().all(|chunk| chunk.len() <= SEALED_CHUNK_BYTES_MAX));
        let contents = open(&key, &header, &sealed).unwrap();
        assert_eq!(contents.head, mk_head());
        assert_eq!(contents.state.to_snapshot().unwrap(), mk_snapshot(chunks));
        assert_eq!(
            contents.keys.iter().map(|key| (key.epoch(), key.expose())).collect::<Vec<_>>(),
            [(1, &[7; 32][..])]
        );
    }
}

#[test]
fn nothing_can_be_left_out_added_moved_or_altered() {
    let key = mk_key();
    let (header, sealed) = mk_sealed(&key.public(), 3);
    let (_, others) = mk_sealed(&key.public(), 3);
    let check = |what: &str, change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut changed = sealed.clone();
        change(&mut changed);
        let error = open(&key, &header, &changed).expect_err(what);
        assert!(matches!(error, BackupError::Altered { .. } | BackupError::Incomplete), "{what}: {error}");
    };
    check("the last is missing", &|chunks| drop(chunks.pop()));
    check("the first is missing", &|chunks| drop(chunks.remove(0)));
    check("one in the middle is missing", &|chunks| drop(chunks.remove(1)));
    check("two are swapped", &|chunks| chunks.swap(0, 1));
    check("one is there twice", &|chunks| chunks.insert(1, chunks[0].clone()));
    check("something follows the last", &|chunks| chunks.push(chunks[0].clone()));
    check("an earlier one claims to be the last", &|chunks| chunks[0][0] = 1);
    check("the last claims that more follows", &|chunks| chunks.last_mut().unwrap()[0] = 0);
    check("one is of another backup", &|chunks| chunks[1].clone_from(&others[1]));
    check("one is cut", &|chunks| chunks[1].truncate(100));
    check("one is empty", &|chunks| chunks[1].clear());
    for at in [1, 100, CHUNK_BYTES] {
        check("a bit is another", &|chunks| chunks[0][at] ^= 1);
    }
}

#[test]
fn another_key_or_header_opens_nothing() {
    let (key, other) = (mk_key(), mk_key());
    let (header, sealed) = mk_sealed(&key.public(), 1);
    assert!(matches!(open(&other, &header, &sealed), Err(BackupError::Altered { part: 0 })));
    let text = String::from_utf8(header).unwrap();
    for (from, to) in
        [(":\"fleet\"", ":\"flee2\""), ("\"index\":42", "\"index\":41"), ("0.1.0", "0.1.1"), ("0000,", "0001,")]
    {
        let header = text.replacen(from, to, 1);
        assert!(header != text && open(&key, header.as_bytes(), &sealed).is_err(), "{from}");
    }
    // White space changes no field; the chunks are bound to the bytes all the same.
    assert!(matches!(open(&key, format!("{text} ").as_bytes(), &sealed), Err(BackupError::Altered { part: 0 })));
    assert!(matches!(Head::of_header(br#"{"format":2}"#), Err(BackupError::Format { found: 2 })));
    assert!(matches!(Head::of_header(b"{}"), Err(BackupError::NotABackup)));
}

#[test]
fn contents_that_do_not_fit_together_are_refused() {
    let key = DataKey::from_bytes(1, &[7; 32]).unwrap();
    let check = |head: Head, keys: &[DataKey], state: &[u8], says: &str| {
        let plain = plaintext(keys, state).unwrap();
        let error = Contents::parse(head, &plain).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    };
    let state = mk_snapshot(1);
    check(Head { fleet: "other".into(), ..mk_head() }, std::slice::from_ref(&key), &state, "not of the fleet");
    check(mk_head(), &[], &state, "key of epoch 1 is missing");
    check(mk_head(), std::slice::from_ref(&key), b"{", "can't be read");
    let newer = String::from_utf8(state.clone()).unwrap().replacen("\"version\":1", "\"version\":9", 1);
    check(mk_head(), &[key], newer.as_bytes(), "version 9");
    for cut in [&[][..], &[0, 0, 0], &[0, 0, 0, 9, 1], &[0xff; 200]] {
        assert!(Contents::parse(mk_head(), cut).unwrap_err().to_string().contains("cut off"));
    }
}

#[test]
fn neither_header_nor_debug_shows_a_secret() {
    let key = mk_key();
    let archive = mk_archive(&key.public(), 1);
    let seen = format!("{archive:?} {}", String::from_utf8_lossy(archive.header()));
    let secret = STANDARD.encode([7; 32]);
    assert!(!seen.contains(&secret) && !seen.contains(&hex::encode([7; 32])), "{seen}");
}
