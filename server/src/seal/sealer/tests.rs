use proptest::prelude::*;

use super::*;

const FLEET: &str = "4f1c9c5e-0b1c-4a57-9a0e-6a1f2f0d3b7c";
const CONTEXT: SecretContext<'_> = SecretContext { cluster: "c-1", kind: "ca.key", object: "o-1", revision: 7 };

fn mk_sealer(epochs: &[u32]) -> Sealer {
    Sealer::new(FLEET, epochs.iter().map(|epoch| DataKey::generate(*epoch).unwrap())).unwrap()
}

#[test]
fn a_sealed_secret_shows_nothing_of_what_it_was() {
    let plain = b"a canary that nobody may read";
    let sealed = mk_sealer(&[1]).seal(&CONTEXT, plain).unwrap();
    assert!(!sealed.bytes.0.windows(8).any(|window| plain.windows(8).any(|part| part == window)));
}

#[test]
fn a_sealed_secret_opens_in_its_own_place() {
    let sealer = mk_sealer(&[1]);
    for secret in [b"".as_slice(), b"s", &[7; SECRET_BYTES_MAX]] {
        let sealed = sealer.seal(&CONTEXT, secret).unwrap();
        assert_eq!((sealed.epoch, sealed.format), (1, 1));
        assert_eq!(sealed.bytes.0.len(), secret.len() + OVERHEAD_BYTES);
        assert_eq!(sealer.open(&CONTEXT, &sealed).unwrap().as_slice(), secret);
    }
}

#[test]
fn a_sealed_secret_opens_in_no_other_place() {
    let sealer = mk_sealer(&[1]);
    let sealed = sealer.seal(&CONTEXT, b"secret").unwrap();
    for context in [
        SecretContext { cluster: "c-2", ..CONTEXT },
        SecretContext { cluster: "", ..CONTEXT },
        SecretContext { kind: "ca.crt", ..CONTEXT },
        SecretContext { object: "o-2", ..CONTEXT },
        SecretContext { revision: 6, ..CONTEXT },
        SecretContext { revision: 8, ..CONTEXT },
        // The same bytes, cut elsewhere.
        SecretContext { cluster: "c-1c", kind: "a.key", ..CONTEXT },
        SecretContext { kind: "ca.keyo", object: "-1", ..CONTEXT },
    ] {
        assert_eq!(sealer.open(&context, &sealed).unwrap_err(), OpenError::Altered, "{context:?}");
    }
}

#[test]
fn another_fleet_opens_nothing_even_with_the_same_key() {
    let key = DataKey::generate(1).unwrap();
    let sealed = Sealer::new(FLEET, [key.clone()]).unwrap().seal(&CONTEXT, b"secret").unwrap();
    let restored = Sealer::new("restored", [key]).unwrap();
    assert_eq!(restored.open(&CONTEXT, &sealed).unwrap_err(), OpenError::Altered);
}

#[test]
fn a_secret_does_not_open_under_another_epoch_or_format() {
    let sealer = mk_sealer(&[1, 2]);
    let sealed = sealer.seal(&CONTEXT, b"secret").unwrap();
    let moved = |epoch, format| Sealed { epoch, format, ..sealed.clone() };
    assert_eq!(sealer.open(&CONTEXT, &moved(1, 1)).unwrap_err(), OpenError::Altered);
    assert_eq!(sealer.open(&CONTEXT, &moved(3, 1)).unwrap_err(), OpenError::Epoch { epoch: 3 });
    assert_eq!(sealer.open(&CONTEXT, &moved(2, 2)).unwrap_err(), OpenError::Format { format: 2 });
    // Even one key for two epochs keeps them apart, because the epoch is bound as well.
    let bytes = sealer.data_key(2).unwrap().key().to_vec();
    let twins = [1, 2].map(|epoch| DataKey::from_bytes(epoch, &bytes).unwrap());
    let twins = Sealer::new(FLEET, twins).unwrap();
    assert_eq!(twins.open(&CONTEXT, &sealed).unwrap().as_slice(), b"secret");
    assert_eq!(twins.open(&CONTEXT, &moved(1, 1)).unwrap_err(), OpenError::Altered);
}

#[test]
fn a_format_is_bound_and_not_only_checked() {
    let sealer = mk_sealer(&[1]);
    let aad = |format| sealer.associated_data(&CONTEXT, 1, format);
    assert_ne!(aad(1), aad(2));
}

#[test]
fn the_newest_epoch_seals_and_all_of_them_open() {
    let mut sealer = mk_sealer(&[1]);
    let old = sealer.seal(&CONTEXT, b"old").unwrap();
    sealer.add(DataKey::generate(3).unwrap()).unwrap();
    assert_eq!(sealer.epoch(), 3);
    let new = sealer.seal(&CONTEXT, b"new").unwrap();
    assert_eq!(new.epoch, 3);
    sealer.add(DataKey::generate(2).unwrap()).unwrap();
    assert_eq!((sealer.epoch(), sealer.epochs().collect::<Vec<_>>()), (3, vec![1, 2, 3]));
    assert_eq!(sealer.open(&CONTEXT, &old).unwrap().as_slice(), b"old");
    assert_eq!(sealer.open(&CONTEXT, &new).unwrap().as_slice(), b"new");
    assert_eq!(sealer.add(DataKey::generate(3).unwrap()), Err(SealError::EpochTaken { epoch: 3 }));
    assert_eq!(sealer.open(&CONTEXT, &new).unwrap().as_slice(), b"new");
}

#[test]
fn a_forgotten_epoch_opens_nothing_and_the_current_one_stays() {
    let mut sealer = mk_sealer(&[1]);
    let old = sealer.seal(&CONTEXT, b"old").unwrap();
    assert_eq!(sealer.forget(1), Err(SealError::CurrentEpoch { epoch: 1 }));
    sealer.add(DataKey::generate(2).unwrap()).unwrap();
    sealer.forget(1).unwrap();
    assert_eq!(sealer.open(&CONTEXT, &old).unwrap_err(), OpenError::Epoch { epoch: 1 });
}

#[test]
fn a_sealer_needs_one_key_for_each_epoch() {
    assert_eq!(Sealer::new(FLEET, []).unwrap_err(), SealError::NoDataKey);
    let twice = [DataKey::generate(1).unwrap(), DataKey::generate(1).unwrap()];
    assert_eq!(Sealer::new(FLEET, twice).unwrap_err(), SealError::EpochTaken { epoch: 1 });
}

#[test]
fn a_secret_that_is_too_long_is_refused() {
    let sealer = mk_sealer(&[1]);
    let bytes = SECRET_BYTES_MAX + 1;
    assert_eq!(sealer.seal(&CONTEXT, &vec![0; bytes]), Err(SealError::TooLong { bytes }));
    let huge = Sealed { epoch: 1, format: 1, bytes: vec![0; bytes + OVERHEAD_BYTES].into() };
    assert_eq!(sealer.open(&CONTEXT, &huge).unwrap_err(), OpenError::Altered);
}

#[test]
fn one_secret_sealed_twice_shows_two_ciphertexts() {
    let sealer = mk_sealer(&[1]);
    let seal = || sealer.seal(&CONTEXT, b"secret").unwrap();
    assert_ne!(seal(), seal());
}

/// Frozen: what version 0.1 wrote must open for ever.
#[test]
fn a_secret_that_an_earlier_version_sealed_still_opens() {
    let sealer = Sealer::new(FLEET, [DataKey::from_bytes(1, &[7; 32]).unwrap()]).unwrap();
    let bytes = hex::decode("48a1776a0f46410a45969a39e27d6e2a3a12b2b3316d5b9f76d232a599e21925bc3a").unwrap();
    let sealed = Sealed { epoch: 1, format: 1, bytes: bytes.into() };
    assert_eq!(sealer.open(&CONTEXT, &sealed).unwrap().as_slice(), b"secret");
}

#[test]
fn no_key_prints() {
    let sealer = mk_sealer(&[1]);
    let list = format!("{:?}", sealer.data_key(1).unwrap().key().as_slice());
    let shown = format!("{sealer:?}");
    assert!(shown.contains("[redacted]") && !shown.contains(&list[1..list.len() - 1]), "{shown}");
}

/// The fields that are bound, owned.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    fleet: String,
    cluster: String,
    kind: String,
    object: String,
    revision: u64,
    epoch: u32,
}

fn any_place() -> impl Strategy<Value = Place> {
    // Few letters and short texts, so that cuts and moves between fields collide often.
    let text = || "[ab]{0,3}";
    (text(), text(), text(), text(), 0..3_u64, 0..3_u32).prop_map(|(fleet, cluster, kind, object, revision, epoch)| {
        Place { fleet, cluster, kind, object, revision, epoch }
    })
}

proptest! {
    #[test]
    fn no_bound_field_may_change(sealed_at in any_place(), opened_at in any_place(), secret: Vec<u8>) {
        // One key for all, so that nothing but the associated data tells places apart.
        let sealer = |place: &Place| {
            let key = DataKey::from_bytes(place.epoch, &[7; 32]).unwrap();
            Sealer::new(&place.fleet, [key]).unwrap()
        };
        fn context(place: &Place) -> SecretContext<'_> {
            let Place { cluster, kind, object, revision, .. } = place;
            SecretContext { cluster, kind, object, revision: *revision }
        }
        let mut sealed = sealer(&sealed_at).seal(&context(&sealed_at), &secret).unwrap();
        sealed.epoch = opened_at.epoch;
        let opened = sealer(&opened_at).open(&context(&opened_at), &sealed);
        if sealed_at == opened_at {
            prop_assert_eq!(&opened.unwrap()[..], &secret[..]);
        } else {
            prop_assert_eq!(opened.unwrap_err(), OpenError::Altered);
        }
    }

    #[test]
    fn no_byte_may_change(secret: Vec<u8>, at: prop::sample::Index, flip in 1..=255_u8) {
        let sealer = mk_sealer(&[1]);
        let mut sealed = sealer.seal(&CONTEXT, &secret).unwrap();
        let at = at.index(sealed.bytes.0.len());
        sealed.bytes.0[at] ^= flip;
        prop_assert_eq!(sealer.open(&CONTEXT, &sealed).unwrap_err(), OpenError::Altered);
    }

    #[test]
    fn bytes_that_were_never_sealed_do_not_open(bytes: Vec<u8>) {
        let sealed = Sealed { epoch: 1, format: 1, bytes: bytes.into() };
        prop_assert_eq!(mk_sealer(&[1]).open(&CONTEXT, &sealed).unwrap_err(), OpenError::Altered);
    }
}
