//! Backups: everything that a fleet needs to go on elsewhere, in one file that only the operator's key opens.
//!
//! ```text
//! the command line makes a key pair ──public half──> a voter seals state and data keys to it
//!        │                                                       │ header, chunks
//!        └─ private half, under a passphrase or key file ──> file <┘
//! ```
//!
//! In reading order: [`archive`] (what a voter seals and who opens it), [`key`] (what the operator keeps), [`file`] (the bytes
//! on disk). Plaintext is in memory only, here as on the server.
//!
//! Deliberately absent: sockets, and what becomes of the contents (`operations::restore_fleet`).

pub mod archive;
mod error;
pub mod file;
pub mod key;

pub use archive::{Archive, Contents, Head, Opening};
pub use error::BackupError;
pub use file::{BackupFile, Writer};
pub use key::BackupKey;
