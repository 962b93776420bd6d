//! Why a backup was not made, or is not opened.

/// Why a backup was not made, or is not opened. No variant holds any of its content.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The system refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Something else.
    #[error("it is not a backup of Muster")]
    NotABackup,
    /// Made by a newer Muster.
    #[error("it is a backup of format {found}, and this program knows format {}; use a newer one", super::file::FORMAT)]
    Format {
        /// The format found.
        found: u32,
    },
    /// The rest is missing.
    #[error("it is cut off: the file ends after {bytes} bytes, in the middle of the backup; take another copy of it")]
    Truncated {
        /// What there is.
        bytes: usize,
    },
    /// It changed since it was written.
    #[error("it is damaged: its checksum is wrong; take another copy of it")]
    Damaged,
    /// Longer than any backup.
    #[error("it is longer than {limit} bytes, which no backup is")]
    TooLarge {
        /// The bound.
        limit: u64,
    },
    /// The wrong key or passphrase.
    #[error("the key does not open it: it was made with another key file or passphrase")]
    WrongKey,
    /// A passphrase where a key file was used, or the other way round.
    #[error("the key does not open it: it was made with the other kind of key (passphrase or key file)")]
    OtherKind,
    /// Whole and under this key, but not what was sealed.
    #[error("part {part} of it is not what the server sealed: it was altered, or put together from several backups")]
    Altered {
        /// Number of the chunk, from 0.
        part: u64,
    },
    /// The server's stream ended early.
    #[error("the server ended before the last part of the backup")]
    Incomplete,
    /// The contents contradict each other or are of a newer version.
    #[error("its contents can't be used: {0}")]
    Contents(String),
    /// Sealing failed.
    #[error("the system has no randomness, or the key to seal to is not usable")]
    Seal,
}
