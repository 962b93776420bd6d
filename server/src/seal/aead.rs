//! AES-256-GCM-SIV with random nonces, and associated data that can be read in one way only.
//!
//! GCM-SIV rather than GCM, because a nonce drawn twice then shows no more than that two equal secrets are equal; with
//! plain GCM it would give the key away.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

pub(super) const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
/// What sealing adds: nonce and tag.
pub(super) const OVERHEAD_BYTES: usize = NONCE_LEN + TAG_BYTES;

pub(super) type Key = Zeroizing<[u8; KEY_BYTES]>;

/// The system has no randomness, or the library refused; nothing was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failed;

/// Nonce, ciphertext and tag.
pub(super) fn seal(key: &Key, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Failed> {
    let nonce: [u8; NONCE_LEN] = random()?;
    // Room for the tag from the start: growing would leave a copy of the plaintext behind.
    let mut buffer = Zeroizing::new(Vec::with_capacity(plaintext.len() + TAG_BYTES));
    buffer.extend_from_slice(plaintext);
    cipher(key)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut *buffer)
        .map_err(|_| Failed)?;
    Ok([nonce.as_slice(), &buffer].concat())
}

/// What [`seal`] sealed. Fails if the key, the associated data or any byte is another.
pub(super) fn open(key: &Key, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failed> {
    let (nonce, ciphertext) = sealed.split_at_checked(NONCE_LEN).ok_or(Failed)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Failed)?;
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    let length = cipher(key)?.open_in_place(nonce, Aad::from(aad), &mut buffer).map_err(|_| Failed)?.len();
    buffer.truncate(length);
    Ok(buffer)
}

fn cipher(key: &Key) -> Result<LessSafeKey, Failed> {
    let key = UnboundKey::new(&AES_256_GCM_SIV, key.as_slice()).map_err(|_| Failed)?;
    Ok(LessSafeKey::new(key))
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], Failed> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Failed)?;
    Ok(bytes)
}

/// Associated data: a domain, then fields, each with its length before it, so that no two lists of fields give the same
/// bytes.
pub(crate) struct AssociatedData(Vec<u8>);

impl AssociatedData {
    pub(crate) fn new(domain: &str) -> Self {
        Self(Vec::new()).text(domain)
    }

    pub(crate) fn text(self, field: &str) -> Self {
        self.bytes(field.as_bytes())
    }

    pub(crate) fn bytes(mut self, field: &[u8]) -> Self {
        // usize has at most 64 bits wherever this runs.
        self.0.extend_from_slice(&(field.len() as u64).to_be_bytes());
        self.0.extend_from_slice(field);
        self
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}
