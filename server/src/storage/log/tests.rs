use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::storage::backend::memory::Memory;

/// A log and the backend it writes to at once.
struct Fixture {
    log: Log,
    backend: Memory,
}

impl Fixture {
    fn new() -> Self {
        Self { log: Log::default(), backend: Memory::default() }
    }

    fn with_records(indices: Range<u64>) -> Self {
        let mut fixture = Self::new();
        for index in indices {
            fixture.write(|log, batch| log.append(batch, index, &payload(index))).unwrap();
        }
        fixture
    }

    fn write(&mut self, plan: impl FnOnce(&mut Log, &mut Batch) -> Result<(), Error>) -> Result<(), Error> {
        let mut batch = Batch::default();
        plan(&mut self.log, &mut batch)?;
        self.backend.write(&batch)
    }

    fn reopened(self) -> Result<Self, Error> {
        let (log, _) = Log::open(&self.backend)?;
        Ok(Self { log, backend: self.backend })
    }

    fn all(&self) -> Vec<(u64, Vec<u8>)> {
        self.log.read(&self.backend, 0..u64::MAX, usize::MAX).unwrap()
    }
}

fn payload(index: u64) -> Vec<u8> {
    format!("record {index}").into_bytes()
}

fn point(index: u64) -> PurgePoint {
    PurgePoint { index, detail: b"detail".to_vec() }
}

fn damaged<T>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Damaged { what, detail }) => format!("{what}: {detail}"),
        Err(other) => panic!("not reported as damage: {other}"),
        Ok(_) => panic!("the damage was not found"),
    }
}

#[test]
fn a_hole_is_refused() {
    let mut fixture = Fixture::with_records(0..3);
    let refused = fixture.write(|log, batch| log.append(batch, 4, b""));
    assert!(matches!(refused, Err(Error::Rule(_))), "{refused:?}");
    let refused = fixture.write(|log, batch| log.append(batch, 2, b""));
    assert!(matches!(refused, Err(Error::Rule(_))), "{refused:?}");
}

#[test]
fn the_log_goes_on_after_a_purge_beyond_its_end() {
    let mut fixture = Fixture::with_records(0..3);
    fixture.write(|log, batch| log.purge(batch, point(10))).unwrap();
    fixture.write(|log, batch| log.append(batch, 11, b"eleven")).unwrap();
    let fixture = fixture.reopened().unwrap();
    assert_eq!(fixture.all(), [(11, b"eleven".to_vec())]);
    assert_eq!(fixture.log.purged(), Some(&point(10)));
}

#[test]
fn a_purge_never_moves_back() {
    let mut fixture = Fixture::with_records(0..9);
    fixture.write(|log, batch| log.purge(batch, point(5))).unwrap();
    fixture.write(|log, batch| log.purge(batch, point(3))).unwrap();
    assert_eq!(fixture.reopened().unwrap().log.purged(), Some(&point(5)));
}

#[test]
fn reading_stops_at_the_byte_limit_but_never_before_the_first() {
    let fixture = Fixture::with_records(0..9);
    let one = payload(0).len();
    assert_eq!(fixture.log.read(&fixture.backend, 2..9, 0).unwrap().len(), 1);
    assert_eq!(fixture.log.read(&fixture.backend, 2..9, 3 * one).unwrap().len(), 3);
    assert_eq!(fixture.log.read(&fixture.backend, 5..5, 3 * one).unwrap().len(), 0);
}

#[test]
fn a_missing_record_is_found_wherever_it_was() {
    for index in 0..5 {
        let mut fixture = Fixture::with_records(0..5);
        fixture.backend.pairs_mut().remove(&record::record_key(index, 0));
        damaged(fixture.reopened());
    }
}

#[test]
fn a_missing_piece_of_a_long_record_is_found() {
    for chunk in 0..3 {
        let mut fixture = Fixture::with_records(0..2);
        fixture.write(|log, batch| log.append(batch, 2, &[1; 10_000])).unwrap();
        fixture.backend.pairs_mut().remove(&record::record_key(2, chunk)).unwrap();
        damaged(fixture.reopened());
    }
}

#[test]
fn a_record_replayed_from_another_history_is_found() {
    let mut other = Fixture::with_records(0..2);
    other.write(|log, batch| log.append(batch, 2, b"another history")).unwrap();
    other.write(|log, batch| log.append(batch, 3, &payload(3))).unwrap();
    let mut fixture = Fixture::with_records(0..5);
    let key = record::record_key(3, 0);
    let replayed = other.backend.pairs_mut()[&key].clone();
    fixture.backend.pairs_mut().insert(key, replayed);
    assert!(damaged(fixture.reopened()).contains("does not continue"));
}

#[test]
fn records_left_behind_by_a_lost_purge_are_found() {
    let mut fixture = Fixture::with_records(0..5);
    let before = fixture.backend.pairs_mut().clone();
    fixture.write(|log, batch| log.purge(batch, point(2))).unwrap();
    let key = record::record_key(1, 0);
    fixture.backend.pairs_mut().insert(key.clone(), before[&key].clone());
    damaged(fixture.reopened());
}

proptest! {
    #[test]
    fn one_flipped_bit_anywhere_never_goes_unnoticed(value: prop::sample::Index, byte: prop::sample::Index, bit in 0..8_u32) {
        let mut fixture = Fixture::with_records(3..20);
        fixture.write(|log, batch| log.purge(batch, point(7))).unwrap();
        let pairs = fixture.backend.pairs_mut();
        let key = pairs.keys().nth(value.index(pairs.len())).unwrap().clone();
        let bytes = pairs.get_mut(&key).unwrap();
        let at = byte.index(bytes.len());
        bytes[at] ^= 1 << bit;
        damaged(fixture.reopened());
    }

    #[test]
    fn any_sequence_of_operations_leaves_what_a_plain_map_would_hold(steps in prop::collection::vec(step(), 1..60)) {
        let mut fixture = Fixture::new();
        let mut model: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let (mut next, mut purged) = (0_u64, None);
        for step in steps {
            match step {
                Step::Append(bytes) => {
                    fixture.write(|log, batch| log.append(batch, next, &bytes)).unwrap();
                    model.insert(next, bytes);
                    next += 1;
                }
                Step::Truncate(back) => {
                    let from = next.saturating_sub(back).max(purged.map_or(0, |index: u64| index + 1));
                    fixture.write(|log, batch| log.truncate(batch, from)).unwrap();
                    model.retain(|index, _| *index < from);
                    next = from;
                }
                Step::Purge(ahead) => {
                    let upto = purged.unwrap_or(0) + ahead;
                    fixture.write(|log, batch| log.purge(batch, point(upto))).unwrap();
                    model.retain(|index, _| *index > upto);
                    purged = purged.max(Some(upto));
                    next = next.max(upto + 1);
                }
                Step::Reopen => fixture = fixture.reopened().unwrap(),
            }
            prop_assert_eq!(fixture.all(), model.clone().into_iter().collect::<Vec<_>>());
        }
        let reopened = fixture.reopened().unwrap();
        prop_assert_eq!(reopened.all(), model.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(reopened.log.purged().map(|point| point.index), purged);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<u8>),
    Truncate(u64),
    Purge(u64),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Step::Append),
        1 => Just(Step::Append(vec![5; 9000])),
        1 => (0..6_u64).prop_map(Step::Truncate),
        1 => (0..8_u64).prop_map(Step::Purge),
        1 => Just(Step::Reopen),
    ]
}
