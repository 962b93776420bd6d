//! Whether this server can open secrets.

use super::data_key::UnwrapError;
use super::sealer::Sealer;

/// Whether this server can open secrets. One without its key runs all the same: it votes, replicates and relays
/// ciphertext, says that it is sealed, and releases nothing.
#[derive(Debug)]
pub enum SealState {
    /// It cannot.
    Sealed {
        /// Why.
        reason: SealedReason,
    },
    /// It can.
    Unsealed(Sealer),
}

impl SealState {
    /// What seals and opens.
    ///
    /// # Errors
    /// Why this server cannot.
    pub const fn sealer(&self) -> Result<&Sealer, &SealedReason> {
        match self {
            SealState::Unsealed(sealer) => Ok(sealer),
            SealState::Sealed { reason } => Err(reason),
        }
    }
}

/// Why a server is sealed, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealedReason {
    /// A learner, or a server that nobody has approved yet.
    #[error("no data key was given to this server; learners need none, a new voter must be approved")]
    NotAVoter,
    /// The seal key could not be had.
    #[error("the seal key could not be read: {cause}")]
    NoSealKey {
        /// The key source's own words.
        cause: String,
    },
    /// The seal key did not open the data keys.
    #[error(transparent)]
    Unwrap(#[from] UnwrapError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::DataKey;

    #[test]
    fn a_sealed_server_says_why_and_an_unsealed_one_seals() {
        let sealed = SealState::Sealed { reason: UnwrapError::WrongKey.into() };
        let reason = sealed.sealer().unwrap_err();
        assert_eq!(*reason, SealedReason::Unwrap(UnwrapError::WrongKey));
        assert!(reason.to_string().contains("not the seal key"));
        let key = DataKey::generate(1).unwrap();
        let unsealed = SealState::Unsealed(Sealer::new("f", [key]).unwrap());
        assert_eq!(unsealed.sealer().unwrap().epoch(), 1);
    }
}
