//! The bytes of a snapshot's state: the machine's own, and before them what consensus remembers beside it.
//!
//! ```text
//! state = "MUSTBOOK" length:u32be book machine
//! book  = {"format":1,"left":[3],"origins":{"2":{"generation":4,"floor":7,"replies":{"8":[…]}}}}
//! ```
//!
//! A state that begins otherwise was written when a group had one server: all of it is the machine's, and nothing is remembered.
//! A book of before has `highest_member` in the place of `left`, which says nothing of who left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Error, FORMAT, from_formatted, place};
use crate::consensus::machine::Machine;
use crate::consensus::settled::{Heard, Settled};

const MAGIC: &[u8; 8] = b"MUSTBOOK";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BookForm<R> {
    format: u8,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "only read, so that it is no unknown field")]
    highest_member: u64,
    #[serde(default)]
    left: BTreeSet<u64>,
    origins: BTreeMap<u64, HeardForm<R>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeardForm<R> {
    generation: u64,
    floor: u64,
    replies: BTreeMap<u64, Vec<R>>,
}

/// Puts the parts of a snapshot's state together.
///
/// # Errors
/// [`Error::Form`] for a reply that has no JSON.
pub(in crate::consensus) fn render_state<M: Machine>(
    settled: &Settled<M>,
    left: &BTreeSet<u64>,
    machine: &[u8],
) -> Result<Vec<u8>, Error> {
    let form = |heard: &Heard<M::Reply>| HeardForm {
        generation: heard.generation,
        floor: heard.floor,
        replies: heard.replies.iter().map(|(sequence, replies)| (*sequence, replies.to_vec())).collect(),
    };
    let origins = settled.origins.iter().map(|(server, heard)| (*server, form(heard))).collect();
    let book = serde_json::to_vec(&BookForm { format: FORMAT, highest_member: 0, left: left.clone(), origins });
    let book = book.map_err(|error| Error::form("a reply", place(&error)))?;
    let length = u32::try_from(book.len()).map_err(|_| Error::form("the replies", "too large"))?;
    Ok([MAGIC.as_slice(), &length.to_be_bytes(), &book, machine].concat())
}

/// What is remembered of parcels, who has left for good, and the machine's own bytes.
type Parts<'a, M> = (Settled<M>, BTreeSet<u64>, &'a [u8]);

/// Takes apart what [`render_state`] made, or what was made before there was anything to remember.
///
/// # Errors
/// [`Error`].
pub(in crate::consensus) fn parse_state<M: Machine>(bytes: &[u8]) -> Result<Parts<'_, M>, Error> {
    let what = "what a snapshot remembers of parcels";
    let Some(rest) = bytes.strip_prefix(MAGIC) else { return Ok((Settled::default(), BTreeSet::new(), bytes)) };
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(|| Error::form(what, "cut short"))?;
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    let (book, machine) = rest.split_at_checked(length).ok_or_else(|| Error::form(what, "cut short"))?;
    let book: BookForm<M::Reply> = from_formatted(what, book)?;
    let heard = |form: HeardForm<M::Reply>| Heard {
        generation: form.generation,
        floor: form.floor,
        replies: form.replies.into_iter().map(|(sequence, replies)| (sequence, Arc::from(replies))).collect(),
    };
    let origins = book.origins.into_iter().map(|(server, form)| (server, heard(form))).collect();
    Ok((Settled { origins }, book.left, machine))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::consensus::machine::toy::Toy;

    fn mk_settled() -> Settled<Toy> {
        let replies = BTreeMap::from([(8, Arc::from([5, 6])), (10, Arc::from([7]))]);
        Settled { origins: BTreeMap::from([(2, Heard { generation: 4, floor: 7, replies })]) }
    }

    fn stored(members: &str, machine: &[u8]) -> Vec<u8> {
        let origins = r#"{"2":{"generation":4,"floor":7,"replies":{"8":[5,6],"10":[7]}}}"#;
        let book = format!(r#"{{"format":1,{members},"origins":{origins}}}"#);
        let length = u32::try_from(book.len()).unwrap().to_be_bytes();
        [b"MUSTBOOK".as_slice(), &length, book.as_bytes(), machine].concat()
    }

    #[test]
    fn the_stored_bytes_never_change() {
        let bytes = render_state(&mk_settled(), &[3].into(), b"{}").unwrap();
        assert_eq!(bytes, stored(r#""left":[3]"#, b"{}"));
    }

    #[test]
    fn what_was_stored_is_read_back_and_what_an_earlier_version_stored_too() {
        let bytes = render_state(&mk_settled(), &[3].into(), b"machine").unwrap();
        let (settled, left, machine) = parse_state::<Toy>(&bytes).unwrap();
        assert_eq!((&left, machine), (&[3].into(), b"machine".as_slice()));
        assert_eq!(render_state(&settled, &left, machine).unwrap(), bytes);
        let with_highest = stored(r#""highest_member":3"#, b"machine");
        let (settled, left, machine) = parse_state::<Toy>(&with_highest).unwrap();
        assert!(left.is_empty() && machine == b"machine");
        assert_eq!(render_state(&settled, &[3].into(), machine).unwrap(), bytes);
        let (settled, left, machine) = parse_state::<Toy>(br#"{"notes":[]}"#).unwrap();
        assert!(settled.origins.is_empty() && left.is_empty());
        assert_eq!(machine, br#"{"notes":[]}"#.as_slice());
    }

    #[test]
    fn a_later_format_and_a_form_that_is_not_known_are_refused() {
        for (book, says) in [(r#"{"format":2}"#, "format 2"), (r#"{"format":1,"extra":"hunter2"}"#, "Data error")] {
            let bytes = [b"MUSTBOOK\0\0\0".as_slice(), &[book.len() as u8], book.as_bytes()].concat();
            let refused = parse_state::<Toy>(&bytes).map(|_| ()).unwrap_err().to_string();
            assert!(refused.contains(says) && !refused.contains("hunter2"), "{refused}");
        }
        assert!(parse_state::<Toy>(b"MUSTBOOK\0\0\0\x09{}").is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
            let _ = parse_state::<Toy>(&[MAGIC.as_slice(), &bytes].concat());
        }
    }
}
