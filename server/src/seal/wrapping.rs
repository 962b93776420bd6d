//! Wrapping secrets under a seal key: the form that data keys, and other private halves of a server's own, have at rest.

use zeroize::Zeroizing;

use super::aead::{self, AssociatedData};
use super::data_key::UnwrapError;
use super::seal_key::{Derivation, KEY_ID_BYTES, SealKey, key_id};
use super::sealer::SealError;

/// Layout of what is wrapped: this number, derivation, key id, nonce, ciphertext, tag.
const FORMAT: u8 = 1;
const DOMAIN: &str = "muster/kept/v1";

/// Encrypts `secret`. `aad` makes the associated data from the header that will stand before the ciphertext.
pub(super) fn wrap(
    seal_key: &SealKey,
    aad: impl FnOnce(&[u8]) -> Vec<u8>,
    secret: &[u8],
) -> Result<Vec<u8>, SealError> {
    let derivation = seal_key.derivation().map_err(|_| SealError::Randomness)?;
    let wrapping = seal_key.derive(derivation).ok_or(SealError::Randomness)?;
    let mut bytes = vec![FORMAT];
    derivation.encode(&mut bytes);
    bytes.extend_from_slice(&key_id(&wrapping));
    let aad = aad(&bytes);
    let sealed = aead::seal(&wrapping, &aad, secret).map_err(|_| SealError::Randomness)?;
    bytes.extend_from_slice(&sealed);
    Ok(bytes)
}

/// Decrypts what [`wrap`] made with the same key and associated data.
pub(super) fn unwrap(
    seal_key: &SealKey,
    aad: impl FnOnce(&[u8]) -> Vec<u8>,
    bytes: &[u8],
) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
    let parts = Parts::of(bytes)?;
    let wrapping = seal_key.derive(parts.derivation).ok_or(UnwrapError::OtherKind)?;
    if key_id(&wrapping) != parts.key_id {
        return Err(UnwrapError::WrongKey);
    }
    aead::open(&wrapping, &aad(parts.header), parts.sealed).map_err(|_| UnwrapError::Altered)
}

impl SealKey {
    /// Encrypts a secret that stays where this key is used, such as the private half of a key pair. It opens only with the
    /// same `kind` (what it is) and `owner` (whose). With a passphrase this occupies a thread for a third of a second.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn keep(&self, kind: &str, owner: &str, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        wrap(self, |header| kept(kind, owner, header), secret)
    }

    /// Decrypts what [`SealKey::keep`] made for the same kind and owner.
    ///
    /// # Errors
    /// [`UnwrapError`]; the bytes are as they were, and the right key opens them.
    pub fn recall(&self, kind: &str, owner: &str, kept_bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
        unwrap(self, |header| kept(kind, owner, header), kept_bytes)
    }
}

fn kept(kind: &str, owner: &str, header: &[u8]) -> Vec<u8> {
    AssociatedData::new(DOMAIN).text(kind).text(owner).bytes(header).into_bytes()
}

struct Parts<'a> {
    header: &'a [u8],
    derivation: Derivation,
    key_id: [u8; KEY_ID_BYTES],
    sealed: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(bytes: &'a [u8]) -> Result<Self, UnwrapError> {
        let (format, rest) = bytes.split_first().ok_or(UnwrapError::Format)?;
        if *format != FORMAT {
            return Err(UnwrapError::Format);
        }
        let (derivation, rest) = Derivation::decode(rest).ok_or(UnwrapError::Format)?;
        let (key_id, sealed) = rest.split_first_chunk::<KEY_ID_BYTES>().ok_or(UnwrapError::Format)?;
        let header = &bytes[..bytes.len() - sealed.len()];
        Ok(Self { header, derivation, key_id: *key_id, sealed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_key(byte: u8) -> SealKey {
        SealKey::from_bytes(&[byte; 32]).unwrap()
    }

    #[test]
    fn what_is_kept_is_recalled_with_the_same_key_kind_and_owner_only() {
        let kept = mk_key(1).keep("sealing-key", "server 2", b"private half").unwrap();
        assert_eq!(mk_key(1).recall("sealing-key", "server 2", &kept).unwrap().as_slice(), b"private half");
        assert_eq!(mk_key(2).recall("sealing-key", "server 2", &kept).unwrap_err(), UnwrapError::WrongKey);
        for (kind, owner) in [("identity-key", "server 2"), ("sealing-key", "server 3"), ("sealing-keys", "erver 2")] {
            assert_eq!(mk_key(1).recall(kind, owner, &kept).unwrap_err(), UnwrapError::Altered);
        }
    }

    #[test]
    fn no_altered_or_shortened_byte_is_recalled() {
        let kept = mk_key(1).keep("k", "o", b"secret").unwrap();
        for at in 0..kept.len() {
            let mut altered = kept.clone();
            altered[at] ^= 1;
            assert!(mk_key(1).recall("k", "o", &altered).is_err(), "byte {at}");
            assert!(mk_key(1).recall("k", "o", &kept[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_passphrase_recalls_what_it_kept() {
        let key = |text: &str| SealKey::from_passphrase(text.to_owned().into()).unwrap();
        let kept = key("correct horse battery").keep("k", "o", b"secret").unwrap();
        assert_eq!(key("correct horse battery").recall("k", "o", &kept).unwrap().as_slice(), b"secret");
        assert_eq!(key("incorrect horse battery").recall("k", "o", &kept).unwrap_err(), UnwrapError::WrongKey);
        assert_eq!(mk_key(1).recall("k", "o", &kept).unwrap_err(), UnwrapError::OtherKind);
    }
}
