//! Encryption of every secret before it enters the Raft log.
//!
//! In reading order: what a secret is in memory (`secret`), where the key of a server comes from (`key_source`, `seal_key`),
//! how the fleet's data keys and a server's own secrets are kept under it (`wrapping`, `data_key`) and data keys given to
//! another voter (`handover`), in which form the state holds either (`stored`), and how secrets are sealed with them
//! (`sealer`).
//!
//! Deliberately absent: who may see a secret. That is decided in the log, before anything here is called.

mod aead;
mod data_key;
mod handover;
mod key_source;
mod seal_key;
mod sealer;
mod secret;
mod stored;
mod wrapping;

pub(crate) use aead::AssociatedData;
pub use data_key::{DataKey, UnwrapError, WrapContext, WrappedDataKey};
pub use handover::{hand_over, receive};
pub use key_source::{KeySource, KeySourceError, PassphraseSource, Surroundings, create_key_file};
pub use seal_key::{PASSPHRASE_CHARACTERS_MIN, SealKey, SealKeyError};
pub use sealer::{OpenError, SECRET_BYTES_MAX, SealError, Sealer, SecretContext};
pub use secret::{SecretBytes, SecretText};
pub use stored::{OwnKeys, StoredDataKey};
