//! Encryption of every secret before it enters the Raft log.
//!
//! In reading order: what a secret is in memory (`secret`), where the key of a server comes from (`key_source`), how the
//! fleet's data keys are kept under it (`data_key`), and how secrets are sealed with them (`sealer`).
//!
//! Deliberately absent: who may see a secret. That is decided in the log, before anything here is called.

mod secret;

pub use secret::{SecretBytes, SecretText};
