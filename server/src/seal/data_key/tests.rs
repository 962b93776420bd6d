use super::*;
use crate::seal::SecretText;

const CONTEXT: WrapContext<'_> = WrapContext { fleet: "f", server: "1" };

fn raw(byte: u8) -> SealKey {
    SealKey::from_bytes(&[byte; 32]).unwrap()
}

fn phrase(text: &str) -> SealKey {
    SealKey::from_passphrase(SecretText::from(text.to_owned())).unwrap()
}

#[test]
fn a_wrapped_key_comes_back_under_the_same_seal_key() {
    let key = DataKey::generate(5).unwrap();
    let wrapped = key.wrap(&raw(1), &CONTEXT).unwrap();
    let again = DataKey::unwrap(&raw(1), &CONTEXT, 5, &wrapped).unwrap();
    assert_eq!((again.epoch(), again.key()), (5, key.key()));
    assert_ne!(wrapped, key.wrap(&raw(1), &CONTEXT).unwrap());
}

#[test]
fn a_wrong_seal_key_is_told_apart_from_a_damaged_record() {
    let wrapped = DataKey::generate(5).unwrap().wrap(&raw(1), &CONTEXT).unwrap();
    let before = wrapped.clone();
    assert_eq!(DataKey::unwrap(&raw(2), &CONTEXT, 5, &wrapped).unwrap_err(), UnwrapError::WrongKey);
    assert_eq!(wrapped, before);
    DataKey::unwrap(&raw(1), &CONTEXT, 5, &wrapped).unwrap();
    let mut altered = wrapped;
    *altered.bytes.last_mut().unwrap() ^= 1;
    assert_eq!(DataKey::unwrap(&raw(1), &CONTEXT, 5, &altered).unwrap_err(), UnwrapError::Altered);
}

#[test]
fn a_wrapped_key_opens_for_no_other_fleet_server_or_epoch() {
    let wrapped = DataKey::generate(5).unwrap().wrap(&raw(1), &CONTEXT).unwrap();
    for (context, epoch) in [
        (WrapContext { fleet: "g", ..CONTEXT }, 5),
        (WrapContext { server: "2", ..CONTEXT }, 5),
        (WrapContext { fleet: "f1", server: "" }, 5),
        (CONTEXT, 4),
    ] {
        let refused = DataKey::unwrap(&raw(1), &context, epoch, &wrapped).unwrap_err();
        assert_eq!(refused, UnwrapError::Altered, "{context:?} {epoch}");
    }
}

#[test]
fn no_byte_of_a_wrapped_key_may_change_or_be_missing() {
    let wrapped = DataKey::generate(5).unwrap().wrap(&raw(1), &CONTEXT).unwrap();
    for i in 0..wrapped.bytes.len() {
        let mut altered = wrapped.clone();
        altered.bytes[i] ^= 1;
        DataKey::unwrap(&raw(1), &CONTEXT, 5, &altered).unwrap_err();
        let cut = WrappedDataKey { bytes: wrapped.bytes[..i].to_vec() };
        DataKey::unwrap(&raw(1), &CONTEXT, 5, &cut).unwrap_err();
    }
}

#[test]
fn a_passphrase_opens_what_it_wrapped_and_no_other_does() {
    let key = DataKey::generate(1).unwrap();
    let wrapped = key.wrap(&phrase("correct horse battery"), &CONTEXT).unwrap();
    let again = DataKey::unwrap(&phrase("correct horse battery"), &CONTEXT, 1, &wrapped).unwrap();
    assert_eq!(again.key(), key.key());
    let wrong = DataKey::unwrap(&phrase("correct horse batterx"), &CONTEXT, 1, &wrapped);
    assert_eq!(wrong.unwrap_err(), UnwrapError::WrongKey);
    assert_eq!(DataKey::unwrap(&raw(1), &CONTEXT, 1, &wrapped).unwrap_err(), UnwrapError::OtherKind);
    let by_key = key.wrap(&raw(1), &CONTEXT).unwrap();
    let other = DataKey::unwrap(&phrase("correct horse battery"), &CONTEXT, 1, &by_key);
    assert_eq!(other.unwrap_err(), UnwrapError::OtherKind);
}

#[test]
fn all_records_of_one_passphrase_share_a_salt_and_two_servers_do_not() {
    let salt = |wrapped: &WrappedDataKey| wrapped.bytes[6..22].to_vec();
    let seal_key = phrase("correct horse battery");
    let first = DataKey::generate(1).unwrap().wrap(&seal_key, &CONTEXT).unwrap();
    let second = DataKey::generate(2).unwrap().wrap(&seal_key, &CONTEXT).unwrap();
    assert_eq!(salt(&first), salt(&second));
    // Also after a restart.
    let seal_key = phrase("correct horse battery");
    DataKey::unwrap(&seal_key, &CONTEXT, 1, &first).unwrap();
    let third = DataKey::generate(3).unwrap().wrap(&seal_key, &CONTEXT).unwrap();
    assert_eq!(salt(&third), salt(&first));
    let other = DataKey::generate(1).unwrap().wrap(&phrase("correct horse battery"), &CONTEXT).unwrap();
    assert_ne!(salt(&other), salt(&first));
}

#[test]
fn a_record_that_asks_for_too_little_or_too_much_work_is_refused() {
    let seal_key = phrase("correct horse battery");
    let wrapped = DataKey::generate(1).unwrap().wrap(&seal_key, &CONTEXT).unwrap();
    assert_eq!(wrapped.bytes[2..6], 600_000_u32.to_be_bytes());
    for iterations in [0, 1, 599_999, 60_000_001, u32::MAX] {
        let mut altered = wrapped.clone();
        altered.bytes[2..6].copy_from_slice(&iterations.to_be_bytes());
        let refused = DataKey::unwrap(&seal_key, &CONTEXT, 1, &altered).unwrap_err();
        assert_eq!(refused, UnwrapError::Format, "{iterations}");
    }
}

#[test]
fn a_key_of_a_later_form_is_refused_as_such() {
    let mut wrapped = DataKey::generate(1).unwrap().wrap(&raw(1), &CONTEXT).unwrap();
    wrapped.bytes[0] = 2;
    assert_eq!(DataKey::unwrap(&raw(1), &CONTEXT, 1, &wrapped).unwrap_err(), UnwrapError::Format);
    wrapped.bytes[0] = 1;
    wrapped.bytes[1] = 9;
    assert_eq!(DataKey::unwrap(&raw(1), &CONTEXT, 1, &wrapped).unwrap_err(), UnwrapError::Format);
}

/// Frozen: what version 0.1 wrote must open for ever.
#[test]
fn a_key_that_an_earlier_version_wrapped_still_opens() {
    let by_key = concat!(
        "0100d9be9da4c928ab951314fbf57b75ef26d2a994fd3a77861a14beafce427f01a2334dd2b67cc0",
        "c0677daceb740969f08412df1a18382cd9e548e8169becad20e4aef84276"
    );
    let by_phrase = concat!(
        "0101000927c048bca846d2d69b9de29c658ae91b652431814786f1036a178d3ea69c3a33089713c8",
        "dfa4168f54c5f04fa1a1d816530c8f64fdf623d2e4d8925f92138fa886d9671de6978f280bb3b376",
        "286e949e6f1b39188359"
    );
    for (seal_key, golden) in [(raw(1), by_key), (phrase("correct horse battery"), by_phrase)] {
        let wrapped = WrappedDataKey { bytes: hex::decode(golden).unwrap() };
        let key = DataKey::unwrap(&seal_key, &CONTEXT, 5, &wrapped).unwrap();
        assert_eq!(key.key().as_slice(), [7; 32]);
    }
}

#[test]
fn neither_key_prints() {
    let key = DataKey::from_bytes(5, &[177; 32]).unwrap();
    let shown = format!("{key:?} {key:#?} {:?} {:?}", raw(177), phrase("correct horse battery"));
    assert!(shown.contains("[redacted]"));
    assert!(!shown.contains("177") && !shown.contains("horse"), "{shown}");
}
