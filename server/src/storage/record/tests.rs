use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_record_comes_back_as_it_was_written(index: u64, previous: [u8; 32], payload: Vec<u8>) {
        let (bytes, digest) = seal_record(index, &previous, &payload).unwrap();
        let opened = open_record(index, &bytes).unwrap();
        prop_assert_eq!(opened, OpenedRecord { index, previous, digest, payload: &payload });
        prop_assert_eq!(bytes.len(), record_bytes(payload.len()));
    }

    #[test]
    fn a_record_in_pieces_is_the_record(length in 0..3 * VALUE_BYTES_MAX) {
        let (bytes, _) = seal_record(1, &[0; 32], &vec![7; length]).unwrap();
        let pieces: Vec<(u16, &[u8])> = chunks(&bytes).collect();
        prop_assert_eq!(pieces.len(), usize::from(chunk_count(bytes.len())));
        prop_assert!(pieces.iter().all(|(_, piece)| !piece.is_empty() && piece.len() <= VALUE_BYTES_MAX));
        prop_assert_eq!(pieces.into_iter().flat_map(|(_, piece)| piece.to_vec()).collect::<Vec<u8>>(), bytes);
    }

    #[test]
    fn any_flipped_bit_is_found(payload: Vec<u8>, at: prop::sample::Index, bit in 0..8_u32) {
        let (mut record, _) = seal_record(9, &[3; 32], &payload).unwrap();
        let mut value = seal_value(Kind::Vote, &payload).unwrap();
        let (in_record, in_value) = (at.index(record.len()), at.index(value.len()));
        record[in_record] ^= 1 << bit;
        value[in_value] ^= 1 << bit;
        let damaged = matches!(open_record(9, &record), Err(Error::Damaged { .. }));
        prop_assert!(damaged);
        let damaged = matches!(open_value(Kind::Vote, &value), Err(Error::Damaged { .. }));
        prop_assert!(damaged);
    }

    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
        prop_assert!(open_record(0, &bytes).is_err());
        prop_assert!(open_value(Kind::Extent, &bytes).is_err());
        let _ = parse_record_key(&bytes);
    }

    #[test]
    fn keys_sort_as_their_numbers(a: (u64, u16), b: (u64, u16)) {
        let (left, right) = (record_key(a.0, a.1), record_key(b.0, b.1));
        prop_assert_eq!(left.cmp(&right), a.cmp(&b));
        prop_assert_eq!(parse_record_key(&left).unwrap(), a);
    }
}

#[test]
fn the_stored_bytes_of_format_1_never_change() {
    let (record, _) = seal_record(0x0102, &[0xaa; 32], b"payload").unwrap();
    assert_eq!(
        hex::encode(&record),
        concat!(
            "0110",
            "0000000000000102",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "00000007",
            "7061796c6f6164",
            "7be8a69984a3aed3bbfd36446d2f2d475f549f8a2be7b048333476b7031ee215",
        ),
    );
    let value = seal_value(Kind::Vote, b"vote").unwrap();
    assert_eq!(
        hex::encode(value),
        concat!("0102", "00000004", "766f7465", "27bb2d0ecd4196f6329e161c99c5697a84f761041cd4c5d8c9c986dc2eb2ef03"),
    );
    assert_eq!(hex::encode(record_key(0x0102, 3)), "0200000000000001020003");
    let kinds = [Kind::Identity, Kind::Vote, Kind::Committed, Kind::Purged, Kind::Extent, Kind::Batch];
    assert_eq!(kinds.map(Kind::key), [[1, 1], [1, 2], [1, 3], [1, 4], [1, 5], [1, 6]].map(Vec::from));
}

#[test]
fn a_record_does_not_pass_for_another_index() {
    let (record, _) = seal_record(5, &[0; 32], b"x").unwrap();
    assert!(matches!(open_record(6, &record), Err(Error::Damaged { .. })));
}

#[test]
fn a_value_does_not_pass_for_another_kind() {
    let value = seal_value(Kind::Vote, b"x").unwrap();
    assert!(matches!(open_value(Kind::Committed, &value), Err(Error::Damaged { .. })));
}

#[test]
fn a_later_format_is_named_instead_of_guessed_at() {
    let (mut record, _) = seal_record(5, &[0; 32], b"x").unwrap();
    record.truncate(record.len() - 32);
    record[0] = FORMAT + 1;
    finish(&mut record);
    let refused = open_record(5, &record);
    assert!(matches!(refused, Err(Error::Format { found: 2, known: 1, .. })), "{refused:?}");
}

#[test]
fn a_payload_above_the_bound_is_refused() {
    let fits = vec![0; PAYLOAD_BYTES_MAX];
    assert!(seal_record(1, &[0; 32], &fits).is_ok());
    let refused = seal_record(1, &[0; 32], &[fits, vec![0]].concat());
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
}
