//! What every engine must do, whichever it is.

use std::collections::BTreeMap;

use tempfile::TempDir;

use super::*;
use crate::storage::backend::VALUE_BYTES_MAX;

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

fn on_each(test: impl Fn(Engine, &TempDir)) {
    for engine in Engine::ALL {
        let home = tempfile::tempdir().unwrap();
        test(engine, &home);
    }
}

fn mk_key(number: u32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

fn put(pairs: impl IntoIterator<Item = (u32, Vec<u8>)>) -> Batch {
    let mut batch = Batch::default();
    for (key, value) in pairs {
        batch.put(mk_key(key), value).unwrap();
    }
    batch
}

fn all(backend: &dyn Backend) -> Pairs {
    let mut found = Pairs::new();
    let (from, to) = (Vec::new(), vec![u8::MAX; 5]);
    let mut visit = |key: &[u8], value: &[u8]| {
        assert!(found.last_key_value().is_none_or(|(last, _)| last.as_slice() < key), "out of order");
        found.insert(key.to_vec(), value.to_vec());
        Ok(())
    };
    backend.scan(&from..&to, &mut visit).unwrap();
    found
}

#[test]
fn a_name_leads_to_its_engine_and_back() {
    for engine in Engine::ALL {
        assert_eq!(Engine::of_name(engine.name()), Some(engine));
    }
    assert_eq!(Engine::of_name("Sled"), None);
}

#[test]
fn a_write_is_seen_at_once_and_durable_after_a_sync() {
    on_each(|engine, home| {
        let mut backend = engine.open(home.path()).unwrap();
        backend.write(&put([(1, b"one".to_vec()), (2, b"two".to_vec())])).unwrap();
        assert_eq!(all(&*backend).len(), 2, "{engine}: before the sync");
        backend.sync().unwrap();
        let mut batch = put([(3, b"three".to_vec())]);
        batch.delete(mk_key(1));
        batch.delete(mk_key(9));
        backend.write(&batch).unwrap();
        backend.sync().unwrap();
        let expected = Pairs::from([(mk_key(2), b"two".to_vec()), (mk_key(3), b"three".to_vec())]);
        assert_eq!(all(&*backend), expected, "{engine}");
        drop(backend);
        assert_eq!(all(&*engine.open(home.path()).unwrap()), expected, "{engine}: opened again");
    });
}

#[test]
fn closing_makes_durable_what_was_only_written() {
    on_each(|engine, home| {
        let mut backend = engine.open(home.path()).unwrap();
        backend.write(&put([(1, b"one".to_vec())])).unwrap();
        backend.close().unwrap();
        drop(backend);
        assert_eq!(all(&*engine.open(home.path()).unwrap()).len(), 1, "{engine}");
    });
}

#[test]
fn nothing_is_carried_out_after_closing() {
    on_each(|engine, home| {
        let mut backend = engine.open(home.path()).unwrap();
        backend.close().unwrap();
        assert!(backend.write(&put([(1, b"one".to_vec())])).is_err(), "{engine}");
        assert!(backend.scan(&mk_key(0)..&mk_key(9), &mut |_, _| Ok(())).is_err(), "{engine}");
    });
}

#[test]
fn a_scan_visits_its_range_in_order_and_stops_when_told_to() {
    on_each(|engine, home| {
        let mut backend = engine.open(home.path()).unwrap();
        backend.write(&put((0..300).rev().map(|number| (number, vec![7; 100])))).unwrap();
        for _ in ["before the sync", "after it"] {
            let mut seen = Vec::new();
            let mut visit = |key: &[u8], _: &[u8]| {
                seen.push(key.to_vec());
                if seen.len() == 5 { Err(Error::Rule("enough".to_owned())) } else { Ok(()) }
            };
            let stopped = backend.scan(&mk_key(10)..&mk_key(20), &mut visit);
            assert!(matches!(stopped, Err(Error::Rule(_))), "{engine}: {stopped:?}");
            assert_eq!(seen, (10..15).map(mk_key).collect::<Vec<_>>(), "{engine}");
            backend.sync().unwrap();
        }
        let mut count = 0;
        let mut visit = |_: &[u8], _: &[u8]| {
            count += 1;
            Ok(())
        };
        backend.scan(&mk_key(10)..&mk_key(20), &mut visit).unwrap();
        assert_eq!(count, 10, "{engine}: the end is not part of the range");
    });
}

#[test]
fn a_history_of_writes_ends_as_it_would_in_memory() {
    on_each(|engine, home| {
        let mut expected = Pairs::new();
        let mut backend = engine.open(home.path()).unwrap();
        let mut chance = 7_u32;
        for round in 0..200_u32 {
            let mut batch = Batch::default();
            for _ in 0..20 {
                chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let (key, bytes) = (mk_key((chance >> 8) % 500), (chance >> 20) as usize % VALUE_BYTES_MAX);
                if chance.is_multiple_of(3) {
                    batch.delete(key);
                } else {
                    batch.put(key, vec![u8::try_from(round % 256).unwrap(); bytes]).unwrap();
                }
            }
            for (key, value) in batch.iter() {
                match value {
                    Some(value) => expected.insert(key.to_vec(), value.to_vec()),
                    None => expected.remove(key),
                };
            }
            backend.write(&batch).unwrap();
            if round % 3 == 0 {
                backend.sync().unwrap();
            }
            if round % 50 == 49 {
                backend.close().unwrap();
                drop(backend);
                backend = engine.open(home.path()).unwrap();
            }
            assert!(all(&*backend) == expected, "{engine}: round {round}");
        }
    });
}

#[test]
fn files_that_are_open_are_not_opened_a_second_time() {
    on_each(|engine, home| {
        let _first = engine.open(home.path()).unwrap();
        assert!(engine.open(home.path()).is_err(), "{engine}");
    });
}
