//! Where a server's seal key comes from.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::aead::{self, KEY_BYTES};
use super::seal_key::{SealKey, SealKeyError};
use super::secret::SecretText;

/// No key or passphrase is longer; what is, was not meant to be one.
const SOURCE_BYTES_MAX: usize = 4096;

/// Where a server's seal key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file with 32 bytes or 64 hexadecimal digits, which nobody but its owner can read.
    File(PathBuf),
    /// A systemd credential (`LoadCredential=`, `LoadCredentialEncrypted=`) with the same content, or `SetCredential=`.
    Credential {
        /// `$CREDENTIALS_DIRECTORY`.
        directory: PathBuf,
        /// Its name.
        name: String,
    },
    /// A passphrase, from which the key is derived.
    Passphrase(PassphraseSource),
}

/// Where a passphrase comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PassphraseSource {
    /// The first line of a file which nobody but its owner can read.
    File(PathBuf),
    /// An environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// The first line of standard input.
    StandardInput,
}

/// What surrounds the process, passed in so that only the composition root touches it.
pub struct Surroundings<'a> {
    /// Looks an environment variable up.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// Standard input.
    pub input: &'a mut dyn Read,
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Surroundings")
    }
}

impl KeySource {
    /// Reads the key.
    ///
    /// # Errors
    /// If it is not there, can be read by others, or is no key.
    pub fn load(&self, surroundings: &mut Surroundings<'_>) -> Result<SealKey, KeySourceError> {
        match self {
            KeySource::File(path) => key_of(path, &read_private(path)?),
            KeySource::Credential { directory, name } => {
                if name.is_empty() || name.contains('/') || name == "." || name == ".." {
                    return Err(KeySourceError::CredentialName);
                }
                let path = directory.join(name);
                // systemd guards the directory itself; a file in it may show group bits that are an ACL's mask.
                let file = File::open(&path).map_err(|error| unreadable(&path, &error))?;
                key_of(&path, &read_all(file).map_err(|error| unreadable(&path, &error))?)
            }
            KeySource::Passphrase(source) => source.load(surroundings),
        }
    }
}

impl PassphraseSource {
    fn load(&self, surroundings: &mut Surroundings<'_>) -> Result<SealKey, KeySourceError> {
        let (what, bytes) = match self {
            PassphraseSource::File(path) => (path.display().to_string(), read_private(path)?),
            PassphraseSource::Environment { variable } => {
                let value = (surroundings.environment)(variable);
                let value = value.ok_or_else(|| KeySourceError::NotSet { variable: variable.clone() })?;
                (variable.clone(), Zeroizing::new(value.into_bytes()))
            }
            PassphraseSource::StandardInput => {
                let path = Path::new("standard input");
                let bytes = read_all(&mut surroundings.input).map_err(|error| unreadable(path, &error))?;
                (path.display().to_string(), bytes)
            }
        };
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = std::str::from_utf8(line).map_err(|_| KeySourceError::NotText { what: what.clone() })?;
        let passphrase = SecretText::from(Zeroizing::new(text.to_owned()));
        SealKey::from_passphrase(passphrase).map_err(|cause| KeySourceError::Key { what, cause })
    }
}

/// Makes a new key and writes it to `path`, mode 0600, durably and as a whole; an existing file is never touched.
///
/// # Errors
/// [`KeySourceError::Exists`] if there is one; otherwise if it cannot be written.
pub fn create_key_file(path: &Path) -> Result<SealKey, KeySourceError> {
    let key: Zeroizing<[u8; KEY_BYTES]> = Zeroizing::new(aead::random().map_err(|_| KeySourceError::Randomness)?);
    let text = Zeroizing::new(format!("{}\n", Zeroizing::new(hex::encode(key.as_slice())).as_str()));
    write_new(path, text.as_bytes()).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeySourceError::Exists { path: path.to_owned() },
        _ => KeySourceError::Unwritable { path: path.to_owned(), cause: error.to_string() },
    })?;
    SealKey::from_bytes(key.as_slice()).map_err(|cause| KeySourceError::Key { what: path.display().to_string(), cause })
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Written aside (mode 0600), then given its name in one step that fails if the name is taken.
    let mut file = tempfile::NamedTempFile::new_in(parent)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    File::open(parent)?.sync_all()
}

fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeySourceError> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    // Of the open file, so that it cannot be exchanged in between.
    let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
    check_private(path, &metadata)?;
    read_all(file).map_err(|error| unreadable(path, &error))
}

fn check_private(path: &Path, metadata: &Metadata) -> Result<(), KeySourceError> {
    if !metadata.is_file() {
        return Err(KeySourceError::NotAFile { path: path.to_owned() });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeySourceError::ReadableByOthers { path: path.to_owned(), mode });
    }
    let owner = metadata.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(KeySourceError::OwnedByAnother { path: path.to_owned(), uid: owner });
    }
    Ok(())
}

fn read_all(source: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    // The whole room at once: growing would leave unwiped copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(SOURCE_BYTES_MAX + 1));
    let limit = u64::try_from(SOURCE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    source.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > SOURCE_BYTES_MAX {
        return Err(io::Error::other(format!("longer than {SOURCE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

fn key_of(path: &Path, bytes: &[u8]) -> Result<SealKey, KeySourceError> {
    let refused = |cause| KeySourceError::Key { what: path.display().to_string(), cause };
    if bytes.len() == KEY_BYTES {
        return SealKey::from_bytes(bytes).map_err(refused);
    }
    let digits = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let digits = digits.strip_suffix(b"\r").unwrap_or(digits);
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    hex::decode_to_slice(digits, key.as_mut_slice())
        .map_err(|_| refused(SealKeyError::Length { bytes: bytes.len() }))?;
    SealKey::from_bytes(key.as_slice()).map_err(refused)
}

fn unreadable(path: &Path, error: &io::Error) -> KeySourceError {
    KeySourceError::Unreadable { path: path.to_owned(), cause: error.to_string() }
}

/// Why there is no seal key. No variant holds any of its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySourceError {
    /// It cannot be read.
    #[error("{}: {cause}", path.display())]
    Unreadable {
        /// Where.
        path: PathBuf,
        /// The system's own words.
        cause: String,
    },
    /// Not a regular file.
    #[error("{}: not a regular file", path.display())]
    NotAFile {
        /// Where.
        path: PathBuf,
    },
    /// Group or others may read or write it.
    #[error("{}: mode {mode:04o} lets others at the key; run `chmod 0600` on it", path.display())]
    ReadableByOthers {
        /// Where.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It belongs to another user.
    #[error("{}: belongs to user {uid}, neither to this user nor to root", path.display())]
    OwnedByAnother {
        /// Where.
        path: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// A credential's name that is a path.
    #[error("the name of a systemd credential is a plain file name")]
    CredentialName,
    /// The variable is not there.
    #[error("the environment variable {variable} is not set")]
    NotSet {
        /// Its name.
        variable: String,
    },
    /// A passphrase that is no text.
    #[error("{what}: the passphrase is not UTF-8 text")]
    NotText {
        /// Where.
        what: String,
    },
    /// What was read is no key.
    #[error("{what}: {cause}")]
    Key {
        /// Where.
        what: String,
        /// Why.
        cause: SealKeyError,
    },
    /// There is a key file already.
    #[error("{}: exists already and was not touched", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// A key file cannot be written.
    #[error("{}: cannot write the new key: {cause}", path.display())]
    Unwritable {
        /// Where.
        path: PathBuf,
        /// The system's own words.
        cause: String,
    },
    /// The system has no randomness.
    #[error("the system has no randomness")]
    Randomness,
}

#[cfg(test)]
mod tests;
