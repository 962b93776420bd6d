//! The bytes of a parcel on the wire between servers; it is never stored.
//!
//! ```text
//! parcel = format:u8 server:u64be generation:u64be sequence:u64be floor:u64be commands      JSON, with commas between
//! ```

use super::{Error, FORMAT, from_json};
use crate::consensus::machine::Machine;
use crate::consensus::parcel::{Origin, Parcel};

const HEAD_BYTES: usize = 1 + 4 * 8;

/// Renders a parcel for the wire.
#[must_use]
pub fn render_parcel<M: Machine>(parcel: &Parcel<M>) -> Vec<u8> {
    let Origin { server, generation, sequence, floor } = parcel.origin;
    let mut bytes = Vec::with_capacity(HEAD_BYTES + parcel.bytes());
    bytes.push(FORMAT);
    for number in [server, generation, sequence, floor] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(parcel.json.as_bytes());
    bytes
}

/// Reads what [`render_parcel`] made.
///
/// # Errors
/// [`Error`], also for a parcel without commands and for a command this program does not know.
pub fn parse_parcel<M: Machine>(bytes: &[u8]) -> Result<Parcel<M>, Error> {
    let what = "a parcel";
    let (head, json) = bytes.split_at_checked(HEAD_BYTES).ok_or_else(|| Error::form(what, "too short"))?;
    if head[0] != FORMAT {
        return Err(Error::Format { what, found: head[0].into() });
    }
    let (numbers, _) = head[1..].as_chunks::<8>();
    let number = |at: usize| numbers.get(at).map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let origin = Origin { server: number(0), generation: number(1), sequence: number(2), floor: number(3) };
    // Read as the list that they will be in an entry: what is a list with brackets around it is one there too.
    let list = [b"[", json, b"]"].concat();
    let commands: Vec<M::Command> = from_json(what, &list)?;
    let json = std::str::from_utf8(json).map_err(|_| Error::form(what, "not UTF-8"))?;
    if commands.is_empty() {
        return Err(Error::form(what, "no commands"));
    }
    Ok(Parcel { origin, commands: commands.into(), json: json.into() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::consensus::codec::{Rendered, pack};
    use crate::consensus::machine::toy::{Toy, Write};

    fn mk_parcel(texts: &[&str]) -> Parcel<Toy> {
        let commands: Vec<_> = texts.iter().map(|text| Rendered::new(Write::new(*text)).unwrap()).collect();
        pack(Origin { server: 3, generation: 0x0102, sequence: 9, floor: 7 }, commands)
    }

    #[test]
    fn the_bytes_on_the_wire_never_change() {
        let head = "0100000000000000030000000000000102".to_owned() + "00000000000000090000000000000007";
        let bytes = render_parcel(&mk_parcel(&["a", "b"]));
        assert_eq!(hex::encode(&bytes[..33]), head);
        assert_eq!(std::str::from_utf8(&bytes[33..]).unwrap(), r#"{"text":"a"},{"text":"b"}"#);
    }

    #[test]
    fn a_parcel_of_another_format_or_cut_short_is_refused_and_never_quoted() {
        let whole = render_parcel(&mk_parcel(&["hunter2", "b"]));
        let first_ends = 33 + r#"{"text":"hunter2"}"#.len();
        for length in (0..whole.len()).filter(|length| *length != first_ends) {
            let refused = parse_parcel::<Toy>(&whole[..length]).unwrap_err().to_string();
            assert!(!refused.contains("hunter2"), "{refused}");
        }
        let later = [vec![2], whole[1..].to_vec()].concat();
        assert!(parse_parcel::<Toy>(&later).unwrap_err().to_string().contains("format 2"));
    }

    #[test]
    fn what_would_end_the_list_of_an_entry_is_no_parcel() {
        let head = &render_parcel(&mk_parcel(&["a"]))[..33];
        for json in [
            r#"{"text":"a"}],"parcels":[{"text":"b"}"#,
            r#"{"text":"a"}]"#,
            r#"[{"text":"a"}]"#,
            r#"{"text":"a"},"#,
            r#"{"text":"a"} {"text":"b"}"#,
            "",
        ] {
            assert!(parse_parcel::<Toy>(&[head, json.as_bytes()].concat()).is_err(), "{json}");
        }
    }

    proptest! {
        #[test]
        fn any_parcel_comes_back_as_it_was_sent(texts in prop::collection::vec(".*", 1..9)) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let sent = mk_parcel(&texts);
            let read = parse_parcel::<Toy>(&render_parcel(&sent)).unwrap();
            prop_assert_eq!(read.origin, sent.origin);
            prop_assert_eq!(read.commands(), texts.into_iter().map(Write::new).collect::<Vec<_>>());
            prop_assert_eq!(read.bytes(), sent.bytes());
        }

        #[test]
        fn arbitrary_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
            let _ = parse_parcel::<Toy>(&bytes);
        }
    }
}
