//! A data key as the replicated state holds it for one server: under that server's own key, or sealed to it by another voter.

use muster_trust::sealing::{SealedToNode, SealingPrivateKey};

use super::data_key::{DataKey, UnwrapError, WrapContext, WrappedDataKey};
use super::handover::receive;
use super::seal_key::SealKey;

/// First byte of a wrapped key; it is the format number of [`WrappedDataKey`] itself.
const WRAPPED: u8 = 1;
/// First byte of a key that was handed over.
const HANDED_OVER: u8 = 2;
/// HPKE's encapsulated key (X25519).
const ENCAPSULATED_BYTES: usize = 32;

/// The keys of one server, with which it opens what is meant for it alone. They never leave it.
#[derive(Debug)]
pub struct OwnKeys {
    /// From its key source.
    pub seal: SealKey,
    /// The one before, while what is under it is being put under the present one.
    pub before: Option<SealKey>,
    /// Other voters seal data keys to its public half.
    pub sealing: SealingPrivateKey,
}

/// A data key for one server. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredDataKey {
    /// Under the server's own seal key.
    Wrapped(WrappedDataKey),
    /// Sealed to the server's sealing key, by [`super::hand_over`].
    HandedOver(SealedToNode),
}

impl StoredDataKey {
    /// As the state holds it: its form in the first byte.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Wrapped(wrapped) => wrapped.bytes.clone(),
            Self::HandedOver(sealed) => [&[HANDED_OVER], sealed.enc.as_slice(), &sealed.ciphertext].concat(),
        }
    }

    /// Reads what [`StoredDataKey::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`UnwrapError::Format`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, UnwrapError> {
        match bytes.split_first() {
            Some((&WRAPPED, _)) => Ok(Self::Wrapped(WrappedDataKey { bytes: bytes.to_vec() })),
            Some((&HANDED_OVER, rest)) => {
                let (enc, ciphertext) = rest.split_at_checked(ENCAPSULATED_BYTES).ok_or(UnwrapError::Format)?;
                Ok(Self::HandedOver(SealedToNode { enc: enc.to_vec(), ciphertext: ciphertext.to_vec() }))
            }
            _ => Err(UnwrapError::Format),
        }
    }

    /// The data key. With a passphrase it may occupy a thread for a third of a second.
    ///
    /// # Errors
    /// [`UnwrapError`] if it is not for this server, fleet and epoch, or the server's keys are other ones.
    pub fn open(&self, keys: &OwnKeys, own: &WrapContext<'_>, epoch: u32) -> Result<DataKey, UnwrapError> {
        match self {
            Self::Wrapped(wrapped) => match (DataKey::unwrap(&keys.seal, own, epoch, wrapped), &keys.before) {
                (Err(UnwrapError::WrongKey), Some(before)) => DataKey::unwrap(before, own, epoch, wrapped),
                (opened, _) => opened,
            },
            Self::HandedOver(sealed) => receive(sealed, own, epoch, &keys.sealing),
        }
    }

    /// The present seal key does not open it, and there is one from before that may.
    pub fn needs_the_key_before(&self, keys: &OwnKeys, own: &WrapContext<'_>, epoch: u32) -> bool {
        match self {
            Self::Wrapped(wrapped) => {
                keys.before.is_some() && DataKey::unwrap(&keys.seal, own, epoch, wrapped).is_err()
            }
            Self::HandedOver(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::hand_over;

    const OWN: WrapContext<'_> = WrapContext { fleet: "f", server: "2" };

    fn mk_keys() -> OwnKeys {
        OwnKeys {
            seal: SealKey::from_bytes(&[7; 32]).unwrap(),
            before: None,
            sealing: SealingPrivateKey::generate().unwrap(),
        }
    }

    #[test]
    fn both_forms_survive_bytes_and_open_to_the_same_key() {
        let (key, own) = (DataKey::generate(3).unwrap(), mk_keys());
        let wrapped = StoredDataKey::Wrapped(key.wrap(&own.seal, &OWN).unwrap());
        let handed = StoredDataKey::HandedOver(hand_over(&key, &OWN, &own.sealing.public()).unwrap());
        for (stored, form) in [(wrapped, 1), (handed, 2)] {
            let bytes = stored.to_bytes();
            assert_eq!(bytes[0], form);
            let again = StoredDataKey::from_bytes(&bytes).unwrap();
            assert_eq!(again, stored);
            assert_eq!(again.open(&own, &OWN, 3).unwrap().key(), key.key());
        }
    }

    #[test]
    fn a_key_from_before_opens_what_is_under_it_and_nothing_else_needs_it() {
        let (key, old) = (DataKey::generate(3).unwrap(), mk_keys());
        let wrapped = StoredDataKey::Wrapped(key.wrap(&old.seal, &OWN).unwrap());
        let other = || SealKey::from_bytes(&[8; 32]).unwrap();
        let new = OwnKeys { seal: other(), before: Some(old.seal), sealing: SealingPrivateKey::generate().unwrap() };
        assert_eq!(wrapped.open(&new, &OWN, 3).unwrap().key(), key.key());
        assert!(wrapped.needs_the_key_before(&new, &OWN, 3));
        let again = StoredDataKey::Wrapped(key.wrap(&new.seal, &OWN).unwrap());
        let handed = StoredDataKey::HandedOver(hand_over(&key, &OWN, &new.sealing.public()).unwrap());
        assert!(!again.needs_the_key_before(&new, &OWN, 3) && !handed.needs_the_key_before(&new, &OWN, 3));
        let without = OwnKeys { before: None, ..new };
        assert!(wrapped.open(&without, &OWN, 3).is_err());
        assert_eq!(again.open(&without, &OWN, 3).unwrap().key(), key.key());
    }

    #[test]
    fn another_server_or_epoch_and_any_other_bytes_are_refused() {
        let (key, own) = (DataKey::generate(3).unwrap(), mk_keys());
        let handed = StoredDataKey::HandedOver(hand_over(&key, &OWN, &own.sealing.public()).unwrap());
        assert_eq!(handed.open(&own, &OWN, 4).unwrap_err(), UnwrapError::Altered);
        assert_eq!(handed.open(&mk_keys(), &OWN, 3).unwrap_err(), UnwrapError::Altered);
        assert_eq!(handed.open(&own, &WrapContext { server: "3", ..OWN }, 3).unwrap_err(), UnwrapError::Altered);
        for bytes in [&[][..], &[0], &[3, 1, 2], &[HANDED_OVER, 1, 2, 3]] {
            assert_eq!(StoredDataKey::from_bytes(bytes).unwrap_err(), UnwrapError::Format);
        }
    }
}
