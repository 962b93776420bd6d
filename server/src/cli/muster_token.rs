//! Enrolment tokens, made where they are printed: the server only ever gets the id and a hash.

use aws_lc_rs::rand;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::cli::exit::{Exit, Failure};

/// First part of every token, by which secret scanners and people recognise one.
const PREFIX: &str = "mst";
/// Characters of the public part.
const ID_LENGTH: usize = 8;
/// Characters of the secret part: 32 of 36 symbols are 165 bits.
const SECRET_LENGTH: usize = 32;
const SYMBOLS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// `mst-<id>-<secret>`. Has no `Debug`; the text is wiped when it is dropped.
pub(crate) struct MusterToken {
    text: Zeroizing<String>,
}

impl MusterToken {
    /// A new token from the system's random number generator.
    ///
    /// # Errors
    /// If that generator fails.
    pub(crate) fn generate() -> Result<Self, Failure> {
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + 2 + ID_LENGTH + SECRET_LENGTH));
        text.push_str(PREFIX);
        for length in [ID_LENGTH, SECRET_LENGTH] {
            text.push('-');
            push_symbols(&mut text, length, |bytes| rand::fill(bytes).map_err(|_| no_randomness()))?;
        }
        Ok(Self { text })
    }

    /// The token in `text`, with white space around it taken off.
    ///
    /// # Errors
    /// If it is no token. The text is not repeated in the error.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let symbols = |part: &str, length| part.len() == length && part.bytes().all(|b| SYMBOLS.contains(&b));
        let text = text.trim();
        let mut parts = text.split('-');
        let fits = parts.next() == Some(PREFIX)
            && parts.next().is_some_and(|id| symbols(id, ID_LENGTH))
            && parts.next().is_some_and(|secret| symbols(secret, SECRET_LENGTH))
            && parts.next().is_none();
        if !fits {
            return Err(Failure::new(
                Exit::Invalid,
                "this is no enrolment token: one is mst-, 8 and 32 characters of a-z and 0-9",
            )
            .with_next("muster token create"));
        }
        Ok(Self { text: Zeroizing::new(text.to_owned()) })
    }

    /// The whole text, which is the secret.
    pub(crate) fn expose(&self) -> &str {
        &self.text
    }

    /// The public part.
    pub(crate) fn id(&self) -> &str {
        &self.text[PREFIX.len() + 1..PREFIX.len() + 1 + ID_LENGTH]
    }

    /// SHA-256 of the whole text.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.text.as_bytes()).into()
    }
}

/// Appends `length` symbols, each equally likely: bytes from 252 up, where 36 no longer fits, are drawn again.
fn push_symbols(
    text: &mut String,
    length: usize,
    mut fill: impl FnMut(&mut [u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    const FAIR: u8 = 252;
    let mut left = length;
    let mut bytes = Zeroizing::new([0; 32]);
    while left > 0 {
        fill(bytes.as_mut_slice())?;
        for byte in bytes.iter().filter(|byte| **byte < FAIR).take(left) {
            text.push(char::from(SYMBOLS[usize::from(byte % 36)]));
            left -= 1;
        }
    }
    Ok(())
}

fn no_randomness() -> Failure {
    Failure::new(Exit::Failed, "the system's random number generator failed")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_new_token_has_the_documented_form_and_reads_back() {
        let token = MusterToken::generate().unwrap();
        assert_eq!(token.expose().len(), 3 + 1 + 8 + 1 + 32);
        let again = MusterToken::parse(&format!(" {}\n", token.expose())).unwrap();
        assert_eq!(again.expose(), token.expose());
        assert_eq!(token.expose(), format!("mst-{}-{}", token.id(), &token.expose()[13..]));
    }

    #[test]
    fn tokens_differ_and_use_every_symbol() {
        let tokens: Vec<String> = (0..100).map(|_| MusterToken::generate().unwrap().expose().to_owned()).collect();
        assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), 100);
        let seen: BTreeSet<char> = tokens.iter().flat_map(|token| token[13..].chars()).collect();
        assert_eq!(seen.len(), 36, "3200 draws leave a symbol out once in 10^38");
    }

    #[test]
    fn bytes_that_would_favour_some_symbols_are_drawn_again() {
        let mut draws = 0;
        let mut text = String::new();
        push_symbols(&mut text, 2, |bytes| {
            draws += 1;
            bytes.fill(255);
            bytes[0] = if draws == 1 { 251 } else { 36 };
            Ok(())
        })
        .unwrap();
        assert_eq!((text.as_str(), draws), ("9a", 2));
    }

    #[test]
    fn the_hash_is_of_the_whole_text() {
        let token = MusterToken::parse(&format!("mst-abcd1234-{}", "a".repeat(32))).unwrap();
        assert_eq!(token.id(), "abcd1234");
        let expected = Sha256::digest(b"mst-abcd1234-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
        assert_eq!(token.sha256(), <[u8; 32]>::from(expected));
    }

    #[test]
    fn what_is_no_token_is_refused_without_repeating_it() {
        let secret = "b".repeat(32);
        for text in [
            String::new(),
            "abcdef.0123456789abcdef".to_owned(),
            format!("mst-abcd123-{secret}"),
            format!("mst-abcd1234-{secret}b"),
            format!("mst-ABCD1234-{secret}"),
            format!("mst-abcd1234-{secret}-x"),
            format!("xst-abcd1234-{secret}"),
        ] {
            let failure = MusterToken::parse(&text).err().unwrap();
            assert_eq!(failure.exit, Exit::Invalid);
            assert!(!failure.message.contains(&secret), "{failure}");
        }
    }
}
