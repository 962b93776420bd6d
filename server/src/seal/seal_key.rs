//! The key of one server, under which it keeps the fleet's data keys: 32 bytes, or derived from a passphrase.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::hmac;
use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA256};
use zeroize::Zeroizing;

use super::aead::{self, KEY_BYTES, Key};
use super::secret::SecretText;

/// Shortest passphrase. PBKDF2 slows guessing down, it does not make short ones strong.
pub const PASSPHRASE_CHARACTERS_MIN: usize = 16;

/// OWASP's figure for PBKDF2-HMAC-SHA256 (Password Storage Cheat Sheet, 2023); about a third of a second.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(600_000).expect("600,000 is not zero");
/// A stored record may ask for this many at most: half a minute.
const ITERATIONS_MAX: u32 = 60_000_000;
const SALT_BYTES: usize = 16;
pub(super) const KEY_ID_BYTES: usize = 8;

/// The key of one server. `Debug` shows nothing of it.
pub struct SealKey(Kind);

enum Kind {
    Bytes(Key),
    Passphrase {
        passphrase: SecretText,
        /// The last derivation, because each takes a third of a second and all records of one server share a salt.
        last: Mutex<Option<(Derivation, Key)>>,
    },
}

impl SealKey {
    /// The key with these 32 bytes.
    ///
    /// # Errors
    /// [`SealKeyError::Length`] if there are not 32.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealKeyError> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        if bytes.len() != KEY_BYTES {
            return Err(SealKeyError::Length { bytes: bytes.len() });
        }
        key.copy_from_slice(bytes);
        Ok(Self(Kind::Bytes(key)))
    }

    /// A key derived from a passphrase. The salt and the cost are stored with what is wrapped.
    ///
    /// # Errors
    /// [`SealKeyError::ShortPassphrase`].
    pub fn from_passphrase(passphrase: SecretText) -> Result<Self, SealKeyError> {
        let characters = passphrase.expose().chars().count();
        if characters < PASSPHRASE_CHARACTERS_MIN {
            return Err(SealKeyError::ShortPassphrase { characters });
        }
        Ok(Self(Kind::Passphrase { passphrase, last: Mutex::new(None) }))
    }

    /// How the next record's key is derived: as the last one's was, so that opening all of them costs one derivation.
    pub(super) fn derivation(&self) -> Result<Derivation, aead::Failed> {
        match &self.0 {
            Kind::Bytes(_) => Ok(Derivation::None),
            Kind::Passphrase { last, .. } => match &*last.lock().unwrap_or_else(PoisonError::into_inner) {
                Some((derivation, _)) => Ok(*derivation),
                None => Ok(Derivation::Pbkdf2 { iterations: ITERATIONS, salt: aead::random()? }),
            },
        }
    }

    /// The wrapping key, or nothing if the record was made from the other kind of key.
    pub(super) fn derive(&self, derivation: Derivation) -> Option<Key> {
        match (&self.0, derivation) {
            (Kind::Bytes(key), Derivation::None) => Some(key.clone()),
            (Kind::Passphrase { passphrase, last }, Derivation::Pbkdf2 { iterations, salt }) => {
                // Held while deriving, so that two callers at once do not derive twice.
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((_, key)) = last.as_ref().filter(|(known, _)| *known == derivation) {
                    return Some(key.clone());
                }
                let mut key = Zeroizing::new([0; KEY_BYTES]);
                let passphrase = passphrase.expose().as_bytes();
                pbkdf2::derive(PBKDF2_HMAC_SHA256, iterations, &salt, passphrase, key.as_mut_slice());
                *last = Some((derivation, key.clone()));
                Some(key)
            }
            (Kind::Bytes(_), Derivation::Pbkdf2 { .. }) | (Kind::Passphrase { .. }, Derivation::None) => None,
        }
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey([redacted])")
    }
}

/// Tells a wrong key from a damaged record. It says nothing about a key of 32 random bytes, and about a passphrase no more
/// than the ciphertext itself says to whoever guesses.
pub(super) fn key_id(key: &Key) -> [u8; KEY_ID_BYTES] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_slice());
    let tag = hmac::sign(&key, b"muster/seal-key-id/v1");
    let mut id = [0; KEY_ID_BYTES];
    id.copy_from_slice(&tag.as_ref()[..KEY_ID_BYTES]);
    id
}

/// How the wrapping key comes from the server's key; stored with each record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Derivation {
    None,
    Pbkdf2 { iterations: NonZeroU32, salt: [u8; SALT_BYTES] },
}

impl Derivation {
    pub(super) fn encode(self, bytes: &mut Vec<u8>) {
        match self {
            Derivation::None => bytes.push(0),
            Derivation::Pbkdf2 { iterations, salt } => {
                bytes.push(1);
                bytes.extend_from_slice(&iterations.get().to_be_bytes());
                bytes.extend_from_slice(&salt);
            }
        }
    }

    /// Reads what [`Derivation::encode`] wrote, and gives what follows it.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (kind, rest) = bytes.split_first()?;
        match kind {
            0 => Some((Derivation::None, rest)),
            1 => {
                let (iterations, rest) = rest.split_first_chunk::<4>()?;
                let (salt, rest) = rest.split_first_chunk::<SALT_BYTES>()?;
                let iterations = NonZeroU32::new(u32::from_be_bytes(*iterations))?;
                // Fewer would be somebody's attempt to make guessing cheap, more to keep us busy.
                let bearable = (ITERATIONS.get()..=ITERATIONS_MAX).contains(&iterations.get());
                bearable.then_some((Derivation::Pbkdf2 { iterations, salt: *salt }, rest))
            }
            _ => None,
        }
    }
}

/// Why bytes or a text are no seal key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealKeyError {
    /// Not 32 bytes.
    #[error("a seal key has 32 bytes, or 64 hexadecimal digits, here are {bytes} bytes")]
    Length {
        /// Bytes found.
        bytes: usize,
    },
    /// Too short to withstand guessing.
    #[error("a passphrase has at least {PASSPHRASE_CHARACTERS_MIN} characters, this one has {characters}")]
    ShortPassphrase {
        /// Characters found.
        characters: usize,
    },
}
