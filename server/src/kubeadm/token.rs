//! A bootstrap token: a public id and a secret, `abcdef.0123456789abcdef`.
//!
//! The form is that of `cluster-bootstrap/token/api`: `\A([a-z0-9]{6})\.([a-z0-9]{16})\z`.

use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::seal::SecretText;

/// Characters in a token's id.
pub const ID_LENGTH: usize = 6;
/// Characters in a token's secret: 36^16, about 82.7 bits.
pub const SECRET_LENGTH: usize = 16;

const SYMBOLS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// A bootstrap token. The id names Kubernetes objects and may be shown; the secret may not.
#[derive(Clone)]
pub struct BootstrapToken {
    id: String,
    secret: Zeroizing<String>,
}

/// Why a text is no bootstrap token. No message repeats any part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Blanks or a line end before or after the token.
    #[error("the token has white space around it")]
    SurroundingSpace,
    /// No `.` between id and secret.
    #[error("the token has no '.' between its id and its secret (expected the form abcdef.0123456789abcdef)")]
    NoDot,
    /// The id is too short or too long.
    #[error("the token's id has {found} characters, not {ID_LENGTH}")]
    IdLength {
        /// Characters found before the dot.
        found: usize,
    },
    /// The secret is too short or too long.
    #[error("the token's secret has {found} characters, not {SECRET_LENGTH}")]
    SecretLength {
        /// Characters found after the dot.
        found: usize,
    },
    /// A character of the id is not allowed.
    #[error("character {position} of the token's id is not one of a-z and 0-9")]
    IdSymbol {
        /// Counted from 1.
        position: usize,
    },
    /// A character of the secret is not allowed.
    #[error("character {position} of the token's secret is not one of a-z and 0-9")]
    SecretSymbol {
        /// Counted from 1.
        position: usize,
    },
}

/// The system's random source failed; nothing was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system's random source failed")]
pub struct EntropyError;

impl BootstrapToken {
    /// Parses `id.secret`, exactly as kubeadm does.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        if text.trim().len() != text.len() {
            return Err(TokenError::SurroundingSpace);
        }
        let (id, secret) = text.split_once('.').ok_or(TokenError::NoDot)?;
        match id.chars().count() {
            ID_LENGTH => {}
            found => return Err(TokenError::IdLength { found }),
        }
        match secret.chars().count() {
            SECRET_LENGTH => {}
            found => return Err(TokenError::SecretLength { found }),
        }
        if let Some(position) = first_foreign_symbol(id) {
            return Err(TokenError::IdSymbol { position });
        }
        if let Some(position) = first_foreign_symbol(secret) {
            return Err(TokenError::SecretSymbol { position });
        }
        Ok(Self { id: id.to_owned(), secret: Zeroizing::new(secret.to_owned()) })
    }

    /// Makes a new token from the system's random source; every symbol is equally likely.
    pub fn generate() -> Result<Self, EntropyError> {
        let mut id = String::with_capacity(ID_LENGTH);
        generate_symbols(ID_LENGTH, &mut id)?;
        let mut secret = Zeroizing::new(String::with_capacity(SECRET_LENGTH));
        generate_symbols(SECRET_LENGTH, &mut secret)?;
        Ok(Self { id, secret })
    }

    /// The public half: part of object names and of the user name `system:bootstrap:<id>`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The secret half alone, as the `token-secret` of its Secret and the key of its JWS.
    pub fn expose_secret(&self) -> &str {
        &self.secret
    }

    /// The whole token. There is no `Display`, so that nobody prints one by accident.
    pub fn expose(&self) -> SecretText {
        SecretText::from(format!("{}.{}", self.id, *self.secret))
    }

    /// The user that the API server authenticates this token as.
    pub fn user_name(&self) -> String {
        format!("system:bootstrap:{}", self.id)
    }
}

impl PartialEq for BootstrapToken {
    /// Compares the secrets in constant time.
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && bool::from(self.secret.as_bytes().ct_eq(other.secret.as_bytes()))
    }
}

impl Eq for BootstrapToken {}

impl fmt::Debug for BootstrapToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BootstrapToken({}.[redacted])", self.id)
    }
}

/// The position, from 1, of the first character that is not in `SYMBOLS`.
fn first_foreign_symbol(text: &str) -> Option<usize> {
    text.chars().position(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit())).map(|index| index + 1)
}

/// Appends `count` random symbols. Bytes of 252 and above are drawn again: 256 is no multiple of 36, and taking the
/// remainder of every byte would make four symbols likelier than the rest.
fn generate_symbols(count: usize, text: &mut String) -> Result<(), EntropyError> {
    const FAIR: u8 = (256 / SYMBOLS.len() * SYMBOLS.len()) as u8;
    let mut pool = Zeroizing::new([0u8; 32]);
    let end = text.len() + count;
    while text.len() < end {
        aws_lc_rs::rand::fill(pool.as_mut_slice()).map_err(|_| EntropyError)?;
        let fair = pool.iter().filter(|byte| **byte < FAIR);
        for byte in fair.take(end - text.len()) {
            text.push(char::from(SYMBOLS[usize::from(*byte) % SYMBOLS.len()]));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::vectors;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn tokens_that_kubeadm_generated_parse_and_come_back_unchanged() {
        let mut seen = 0;
        for line in vectors::text("tokens/token-generate-20.txt").lines() {
            let token = BootstrapToken::parse(line).unwrap();
            assert_eq!(token.expose().expose(), line);
            seen += 1;
        }
        assert_eq!(seen, 20);
    }

    #[test]
    fn what_is_wrong_is_named_without_repeating_the_token() {
        for (text, error) in [
            ("", TokenError::NoDot),
            ("abcdeffedcba987654321f", TokenError::NoDot),
            (" abcdef.fedcba987654321f", TokenError::SurroundingSpace),
            ("abcdef.fedcba987654321f\n", TokenError::SurroundingSpace),
            ("abcde.fedcba987654321f", TokenError::IdLength { found: 5 }),
            ("abcdef.fedcba987654321", TokenError::SecretLength { found: 15 }),
            ("abcdef.fedcba987654321f0", TokenError::SecretLength { found: 17 }),
            ("ABCDEF.fedcba987654321f", TokenError::IdSymbol { position: 1 }),
            ("abcdef.fedcba98765432é0", TokenError::SecretSymbol { position: 15 }),
            ("abcdef.fedcba98.654321f", TokenError::SecretSymbol { position: 9 }),
        ] {
            let found = BootstrapToken::parse(text).unwrap_err();
            assert_eq!(found, error, "{text:?}");
            assert!(!found.to_string().contains("fedcba98"), "{found}");
        }
    }

    #[test]
    fn generated_tokens_parse_and_differ() {
        let one = BootstrapToken::generate().unwrap();
        let two = BootstrapToken::generate().unwrap();
        assert_ne!(one, two);
        assert_eq!(BootstrapToken::parse(one.expose().expose()).unwrap(), one);
    }

    #[test]
    fn every_symbol_is_drawn_about_equally_often() {
        let mut text = String::new();
        generate_symbols(360_000, &mut text).unwrap();
        let mut counts = BTreeMap::<char, u32>::new();
        for c in text.chars() {
            *counts.entry(c).or_default() += 1;
        }
        assert_eq!(counts.len(), 36);
        // 10,000 expected, standard deviation about 99: six of them are never seen by chance. Without the redraw the
        // first four symbols would come out at 11,250.
        for (symbol, count) in counts {
            assert!((9_400..=10_600).contains(&count), "{symbol}: {count}");
        }
    }

    #[test]
    fn debug_shows_the_id_and_not_the_secret() {
        let token = BootstrapToken::parse("abcdef.0123456789abcdef").unwrap();
        assert_eq!(format!("{token:?}"), "BootstrapToken(abcdef.[redacted])");
    }

    proptest! {
        #[test]
        fn exactly_the_texts_of_kubeadms_form_parse(text in "[a-zA-Z0-9.\\n -]{0,30}|[a-z0-9]{6}\\.[a-z0-9]{16}") {
            let ok = |s: &str| s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            let expected = text.len() == 23 && text.as_bytes()[6] == b'.' && ok(&text[..6]) && ok(&text[7..]);
            prop_assert_eq!(BootstrapToken::parse(&text).is_ok(), expected);
        }
    }
}
