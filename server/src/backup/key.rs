//! What an operator keeps to open a backup: a passphrase or a key file, and under it the private half of the backup's own
//! key pair.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use muster_trust::sealing::{SealingPrivateKey, SealingPublicKey};
use zeroize::Zeroizing;

use super::BackupError;
use crate::seal::{
    KeySource, KeySourceError, PassphraseSource, SealKey, SealKeyError, SecretText, Surroundings, UnwrapError,
    create_key_file,
};

const KIND: &str = "backup-key";
/// The public half, in raw form.
const PUBLIC_BYTES: usize = 32;
/// Longest lock: far above a private key with its salt, nonce and tag.
pub const LOCK_BYTES_MAX: usize = 512;

/// The operator's key. `Debug` shows nothing of it.
pub struct BackupKey(SealKey);

impl fmt::Debug for BackupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BackupKey([redacted])")
    }
}

impl BackupKey {
    /// The key in a file with 32 bytes or 64 hexadecimal digits that nobody but its owner can read.
    ///
    /// # Errors
    /// If it is not there, can be read by others, or is no key.
    pub fn of_file(path: &Path) -> Result<Self, KeySourceError> {
        load(KeySource::File(path.to_owned()), &mut std::io::empty())
    }

    /// Makes a new key file, mode 0600; an existing one is never touched.
    ///
    /// # Errors
    /// If there is one, or it cannot be written.
    pub fn new_file(path: &Path) -> Result<Self, KeySourceError> {
        create_key_file(path).map(Self)
    }

    /// The passphrase in the first line of a file that nobody but its owner can read.
    ///
    /// # Errors
    /// If it can't be read or is too short.
    pub fn of_passphrase_file(path: PathBuf) -> Result<Self, KeySourceError> {
        load(KeySource::Passphrase(PassphraseSource::File(path)), &mut std::io::empty())
    }

    /// The passphrase in the first line of standard input.
    ///
    /// # Errors
    /// If it can't be read or is too short.
    pub fn of_passphrase_input(input: &mut dyn Read) -> Result<Self, KeySourceError> {
        load(KeySource::Passphrase(PassphraseSource::StandardInput), input)
    }

    /// A passphrase that was typed.
    ///
    /// # Errors
    /// If it is too short.
    pub fn of_passphrase(passphrase: Zeroizing<String>) -> Result<Self, SealKeyError> {
        SealKey::from_passphrase(SecretText::from(passphrase)).map(Self)
    }

    /// Locks the private half of a backup's key pair. With a passphrase it takes a third of a second.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn lock(&self, private: &SealingPrivateKey) -> Result<Lock, BackupError> {
        let public = private.public();
        let kept = self.0.keep(KIND, &hex::encode(public.as_bytes()), private.to_bytes().as_slice());
        Ok(Lock { public, private: kept.map_err(|_| BackupError::Seal)? })
    }

    /// The private half that [`BackupKey::lock`] locked. With a passphrase it takes a third of a second.
    ///
    /// # Errors
    /// [`BackupError::WrongKey`], [`BackupError::OtherKind`], [`BackupError::NotABackup`].
    pub fn unlock(&self, lock: &Lock) -> Result<SealingPrivateKey, BackupError> {
        let owner = hex::encode(lock.public.as_bytes());
        let private = self.0.recall(KIND, &owner, &lock.private).map_err(|error| match error {
            UnwrapError::WrongKey => BackupError::WrongKey,
            UnwrapError::OtherKind => BackupError::OtherKind,
            UnwrapError::Altered => BackupError::Altered { part: 0 },
            UnwrapError::Format => BackupError::NotABackup,
        })?;
        SealingPrivateKey::from_bytes(&private).map_err(|_| BackupError::Altered { part: 0 })
    }
}

fn load(source: KeySource, input: &mut dyn Read) -> Result<BackupKey, KeySourceError> {
    source.load(&mut Surroundings { environment: &|_| None, input }).map(BackupKey)
}

/// A backup's key pair as its file has it. Nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    public: SealingPublicKey,
    private: Vec<u8>,
}

impl Lock {
    /// As it is stored: the public half, then the locked private half.
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.public.as_bytes().as_slice(), &self.private].concat()
    }

    /// Reads what [`Lock::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`BackupError::NotABackup`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BackupError> {
        let (public, private) = bytes.split_at_checked(PUBLIC_BYTES).ok_or(BackupError::NotABackup)?;
        let public = SealingPublicKey::from_bytes(public).map_err(|_| BackupError::NotABackup)?;
        Ok(Self { public, private: private.to_vec() })
    }
}
