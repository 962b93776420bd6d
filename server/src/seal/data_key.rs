//! Data keys: one for each epoch of the fleet, the same on every voter, and at rest only under the server's own key.

use std::fmt;

use zeroize::Zeroizing;

use super::aead::{self, AssociatedData, KEY_BYTES, Key};
use super::seal_key::SealKey;
use super::sealer::SealError;
use super::wrapping;

const DOMAIN: &str = "muster/data-key/v1";

/// The key that seals the secrets of one epoch. A new epoch starts when a server is removed.
#[derive(Clone)]
pub struct DataKey {
    epoch: u32,
    key: Key,
}

impl DataKey {
    /// A new random key for `epoch`.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn generate(epoch: u32) -> Result<Self, SealError> {
        let key = Zeroizing::new(aead::random().map_err(|_| SealError::Randomness)?);
        Ok(Self { epoch, key })
    }

    /// The key of `epoch` with these 32 bytes, as [`DataKey::expose`] gave them; nothing if there are not 32.
    pub fn from_bytes(epoch: u32, bytes: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        if bytes.len() != KEY_BYTES {
            return None;
        }
        key.copy_from_slice(bytes);
        Some(Self { epoch, key })
    }

    /// The epoch.
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The key itself, for a backup that is sealed to an operator's key.
    pub fn expose(&self) -> &[u8] {
        self.key.as_slice()
    }

    pub(super) const fn key(&self) -> &Key {
        &self.key
    }

    /// Encrypts this key under a server's own key. With a passphrase it occupies a thread for a third of a second.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn wrap(&self, seal_key: &SealKey, context: &WrapContext<'_>) -> Result<WrappedDataKey, SealError> {
        let aad = |header: &[u8]| associated_data(context, self.epoch, header);
        Ok(WrappedDataKey { bytes: wrapping::wrap(seal_key, aad, self.key.as_slice())? })
    }

    /// Decrypts what [`DataKey::wrap`] made for the same server, fleet and epoch. With a passphrase it occupies a thread
    /// for a third of a second the first time.
    ///
    /// # Errors
    /// [`UnwrapError::WrongKey`] if the server's key is another one; the record is as it was, and the right key opens it.
    pub fn unwrap(
        seal_key: &SealKey,
        context: &WrapContext<'_>,
        epoch: u32,
        wrapped: &WrappedDataKey,
    ) -> Result<Self, UnwrapError> {
        let key = wrapping::unwrap(seal_key, |header| associated_data(context, epoch, header), &wrapped.bytes)?;
        Self::from_bytes(epoch, &key).ok_or(UnwrapError::Altered)
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey").field("epoch", &self.epoch).field("key", &"[redacted]").finish()
    }
}

/// Where a wrapped key belongs; it opens nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrapContext<'a> {
    /// The fleet's id.
    pub fleet: &'a str,
    /// The server's id.
    pub server: &'a str,
}

/// A data key under a server's own key. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedDataKey {
    /// As it is stored.
    pub bytes: Vec<u8>,
}

fn associated_data(context: &WrapContext<'_>, epoch: u32, header: &[u8]) -> Vec<u8> {
    AssociatedData::new(DOMAIN)
        .text(context.fleet)
        .text(context.server)
        .bytes(&epoch.to_be_bytes())
        .bytes(header)
        .into_bytes()
}

/// Why a data key was not unwrapped. Nothing was changed in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// The server was given another key than the one its data keys are wrapped with.
    #[error(
        "this is not the seal key that this server's data keys are wrapped with; bring the right one, nothing was changed"
    )]
    WrongKey,
    /// A passphrase where a key file was used, or the other way round.
    #[error(
        "this server's data keys are wrapped with the other kind of seal key (passphrase or key file); bring the right one, nothing was changed"
    )]
    OtherKind,
    /// The key is right, the record is not.
    #[error("the wrapped data key is damaged, or belongs to another fleet, server or epoch")]
    Altered,
    /// Not a record of a known form.
    #[error("the wrapped data key has a form that this version does not know")]
    Format,
}

#[cfg(test)]
mod tests;
