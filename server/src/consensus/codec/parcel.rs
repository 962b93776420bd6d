//! The bytes of a parcel on the wire between servers; it is never stored.
//!
//! ```text
//! parcel = format:u8 server:u64be generation:u64be sequence:u64be floor:u64be (length:u32be command)…
//! ```

use super::{Error, FORMAT, Rendered};
use crate::consensus::machine::Machine;
use crate::consensus::parcel::{Origin, Parcel};

const HEAD_BYTES: usize = 1 + 4 * 8;

/// Renders a parcel for the wire.
#[must_use]
pub fn render_parcel<M: Machine>(parcel: &Parcel<M>) -> Vec<u8> {
    let Origin { server, generation, sequence, floor } = parcel.origin;
    let length: usize = parcel.commands.iter().map(|command| 4 + command.json.len()).sum();
    let mut bytes = Vec::with_capacity(HEAD_BYTES + length);
    bytes.push(FORMAT);
    for number in [server, generation, sequence, floor] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    for command in parcel.commands.iter() {
        // A command is at most COMMAND_BYTES_MAX long; one that is not would be refused where it is read.
        let length = u32::try_from(command.json.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(command.json.as_bytes());
    }
    bytes
}

/// Reads what [`render_parcel`] made.
///
/// # Errors
/// [`Error`], also for a parcel without commands and for a command this program does not know.
pub fn parse_parcel<M: Machine>(bytes: &[u8]) -> Result<Parcel<M>, Error> {
    let what = "a parcel";
    let (head, mut rest) = bytes.split_at_checked(HEAD_BYTES).ok_or_else(|| Error::form(what, "too short"))?;
    if head[0] != FORMAT {
        return Err(Error::Format { what, found: head[0].into() });
    }
    let (numbers, _) = head[1..].as_chunks::<8>();
    let number = |at: usize| numbers.get(at).map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let origin = Origin { server: number(0), generation: number(1), sequence: number(2), floor: number(3) };
    let mut commands = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (json, tail) = tail.split_at_checked(length).ok_or_else(|| Error::form(what, "cut short"))?;
        commands.push(Rendered::parse(json)?);
        rest = tail;
    }
    if !rest.is_empty() || commands.is_empty() {
        return Err(Error::form(what, "cut short"));
    }
    Ok(Parcel { origin, commands: commands.into() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::consensus::machine::toy::{Toy, Write};

    fn mk_parcel(texts: &[&str]) -> Parcel<Toy> {
        let commands: Vec<_> = texts.iter().map(|text| Rendered::new(Write::new(*text)).unwrap()).collect();
        Parcel { origin: Origin { server: 3, generation: 0x0102, sequence: 9, floor: 7 }, commands: commands.into() }
    }

    #[test]
    fn the_bytes_on_the_wire_never_change() {
        let head = "01000000000000000300000000000001020000000000000009".to_owned() + "0000000000000007";
        let command = "0000000c".to_owned() + &hex::encode(r#"{"text":"a"}"#);
        assert_eq!(hex::encode(render_parcel(&mk_parcel(&["a"]))), head + &command);
    }

    #[test]
    fn a_parcel_of_another_format_or_cut_short_is_refused_and_never_quoted() {
        let whole = render_parcel(&mk_parcel(&["hunter2", "b"]));
        let first_ends = whole.len() - 4 - r#"{"text":"b"}"#.len();
        for length in (0..whole.len()).filter(|length| *length != first_ends) {
            let refused = parse_parcel::<Toy>(&whole[..length]).unwrap_err().to_string();
            assert!(!refused.contains("hunter2"), "{refused}");
        }
        let later = [vec![2], whole[1..].to_vec()].concat();
        assert!(parse_parcel::<Toy>(&later).unwrap_err().to_string().contains("format 2"));
    }

    proptest! {
        #[test]
        fn any_parcel_comes_back_as_it_was_sent(texts in prop::collection::vec(".*", 1..9)) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let sent = mk_parcel(&texts);
            let read = parse_parcel::<Toy>(&render_parcel(&sent)).unwrap();
            prop_assert_eq!(read.origin, sent.origin);
            let commands: Vec<_> = read.commands.iter().map(|one| one.command.clone()).collect();
            prop_assert_eq!(commands, texts.into_iter().map(Write::new).collect::<Vec<_>>());
        }

        #[test]
        fn arbitrary_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
            let _ = parse_parcel::<Toy>(&bytes);
        }
    }
}
