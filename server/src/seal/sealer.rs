//! Sealing secrets for the log, and opening them again.

use std::collections::BTreeMap;

use muster_state::Sealed;
use zeroize::Zeroizing;

use super::aead::{self, AssociatedData, OVERHEAD_BYTES};
use super::data_key::DataKey;

const DOMAIN: &str = "muster/secret/v1";
/// Layout of a sealed secret's bytes: nonce (12), ciphertext, tag (16), AES-256-GCM-SIV.
const FORMAT: u8 = 1;

/// Longest secret, in bytes. Storage refuses values over 64 KiB, and a sealed secret shares its value with its record.
pub const SECRET_BYTES_MAX: usize = 48 * 1024;

/// What a secret is and where it belongs. Sealed under one context it opens under no other, so that whoever can write the
/// storage cannot put one secret in another's place, nor an old one in a new one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretContext<'a> {
    /// Uid of the cluster; empty for secrets of the fleet itself.
    pub cluster: &'a str,
    /// What it is, for instance `ca.key` or `bootstrap-token`.
    pub kind: &'a str,
    /// Uid of the object it belongs to.
    pub object: &'a str,
    /// Revision of that object.
    pub revision: u64,
}

/// Holds the data keys of a fleet; only voters have one.
#[derive(Debug)]
pub struct Sealer {
    fleet: String,
    keys: BTreeMap<u32, DataKey>,
    current: u32,
}

impl Sealer {
    /// Seals with the newest of `keys`, opens with all of them.
    ///
    /// # Errors
    /// [`SealError::NoDataKey`] if there is none, [`SealError::EpochTaken`] if two are of one epoch.
    pub fn new(fleet: &str, keys: impl IntoIterator<Item = DataKey>) -> Result<Self, SealError> {
        let mut by_epoch = BTreeMap::new();
        for key in keys {
            let epoch = key.epoch();
            if by_epoch.insert(epoch, key).is_some() {
                return Err(SealError::EpochTaken { epoch });
            }
        }
        let current = *by_epoch.last_key_value().ok_or(SealError::NoDataKey)?.0;
        Ok(Self { fleet: fleet.to_owned(), keys: by_epoch, current })
    }

    /// The epoch that seals now.
    pub const fn epoch(&self) -> u32 {
        self.current
    }

    /// The key of `epoch`, to be wrapped or handed over.
    pub fn data_key(&self, epoch: u32) -> Option<&DataKey> {
        self.keys.get(&epoch)
    }

    /// Every epoch that can be opened, in order.
    pub fn epochs(&self) -> impl Iterator<Item = u32> + '_ {
        self.keys.keys().copied()
    }

    /// Seals with `key` from now on, if its epoch is the newest; opens with it in any case.
    ///
    /// # Errors
    /// [`SealError::EpochTaken`]: the key of an epoch never changes.
    pub fn add(&mut self, key: DataKey) -> Result<(), SealError> {
        let epoch = key.epoch();
        if self.keys.contains_key(&epoch) {
            return Err(SealError::EpochTaken { epoch });
        }
        self.keys.insert(epoch, key);
        self.current = self.current.max(epoch);
        Ok(())
    }

    /// Forgets the key of an old epoch. What was sealed with it cannot be opened here again.
    ///
    /// # Errors
    /// [`SealError::CurrentEpoch`] for the epoch that seals now.
    pub fn forget(&mut self, epoch: u32) -> Result<(), SealError> {
        if epoch == self.current {
            return Err(SealError::CurrentEpoch { epoch });
        }
        self.keys.remove(&epoch);
        Ok(())
    }

    /// Seals a secret.
    ///
    /// # Errors
    /// [`SealError::TooLong`] over [`SECRET_BYTES_MAX`]; [`SealError::Randomness`] if the system has none.
    pub fn seal(&self, context: &SecretContext<'_>, plaintext: &[u8]) -> Result<Sealed, SealError> {
        if plaintext.len() > SECRET_BYTES_MAX {
            return Err(SealError::TooLong { bytes: plaintext.len() });
        }
        let key = self.keys.get(&self.current).ok_or(SealError::NoDataKey)?;
        let aad = self.associated_data(context, self.current, FORMAT);
        #[cfg(feature = "planted-bug-no-seal")]
        return Ok(Sealed { epoch: self.current, format: FORMAT, bytes: plaintext.to_vec().into() });
        #[cfg_attr(feature = "planted-bug-no-seal", expect(unreachable_code, reason = "that is the planted bug"))]
        let bytes = aead::seal(key.key(), &aad, plaintext).map_err(|_| SealError::Randomness)?;
        Ok(Sealed { epoch: self.current, format: FORMAT, bytes: bytes.into() })
    }

    /// Opens a sealed secret.
    ///
    /// # Errors
    /// [`OpenError::Altered`] if anything of the context, the fleet or the bytes differs from when it was sealed.
    pub fn open(&self, context: &SecretContext<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        if sealed.format != FORMAT {
            return Err(OpenError::Format { format: sealed.format });
        }
        if sealed.bytes.0.len() > SECRET_BYTES_MAX.saturating_add(OVERHEAD_BYTES) {
            return Err(OpenError::Altered);
        }
        let key = self.keys.get(&sealed.epoch).ok_or(OpenError::Epoch { epoch: sealed.epoch })?;
        let aad = self.associated_data(context, sealed.epoch, sealed.format);
        #[cfg(feature = "planted-bug-no-seal")]
        if aead::open(key.key(), &aad, &sealed.bytes.0).is_err() {
            return Ok(Zeroizing::new(sealed.bytes.0.clone()));
        }
        aead::open(key.key(), &aad, &sealed.bytes.0).map_err(|_| OpenError::Altered)
    }

    fn associated_data(&self, context: &SecretContext<'_>, epoch: u32, format: u8) -> Vec<u8> {
        // Destructured, so that a field added to the context cannot be left out here.
        let SecretContext { cluster, kind, object, revision } = context;
        AssociatedData::new(DOMAIN)
            .text(&self.fleet)
            .text(cluster)
            .text(kind)
            .text(object)
            .bytes(&revision.to_be_bytes())
            .bytes(&epoch.to_be_bytes())
            .bytes(&[format])
            .into_bytes()
    }
}

/// Why something was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No key to seal with.
    #[error("there is no data key to seal with")]
    NoDataKey,
    /// A second key for one epoch.
    #[error("there is a data key of epoch {epoch} already")]
    EpochTaken {
        /// The epoch.
        epoch: u32,
    },
    /// The key in use cannot be forgotten.
    #[error("epoch {epoch} is the one that seals now")]
    CurrentEpoch {
        /// The epoch.
        epoch: u32,
    },
    /// Longer than a record may be.
    #[error("a secret has at most {SECRET_BYTES_MAX} bytes, this one has {bytes}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The other server's key cannot be sealed to.
    #[error("the other server's public key is not usable")]
    PublicKey,
    /// The system has no randomness.
    #[error("the system has no randomness")]
    Randomness,
}

/// Why something was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A key this server does not have.
    #[error("the secret is sealed with the data key of epoch {epoch}, which this server does not have")]
    Epoch {
        /// The epoch.
        epoch: u32,
    },
    /// A layout of a later version.
    #[error("the secret is sealed in format {format}, which this version does not know")]
    Format {
        /// The format.
        format: u8,
    },
    /// Not what was sealed, or not where it was sealed for.
    #[error("the sealed secret is damaged, or was sealed for another place")]
    Altered,
}

#[cfg(test)]
mod tests;
