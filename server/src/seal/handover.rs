//! Giving a data key to another voter, once an operator has approved it.

use muster_trust::sealing::{self, SealedToNode, SealingPrivateKey, SealingPublicKey};

use super::aead::AssociatedData;
use super::data_key::{DataKey, UnwrapError, WrapContext};
use super::sealer::SealError;

const DOMAIN: &str = "muster/data-key-handover/v1";

/// Seals `key` to the server that `to` names and whose public key an operator approved.
///
/// # Errors
/// If that key is not usable.
pub fn hand_over(key: &DataKey, to: &WrapContext<'_>, public: &SealingPublicKey) -> Result<SealedToNode, SealError> {
    sealing::seal_to(public, &context(to, key.epoch()), key.key().as_slice()).map_err(|_| SealError::PublicKey)
}

/// Opens what [`hand_over`] made for this server.
///
/// # Errors
/// [`UnwrapError::Altered`] if it was made for another server, fleet or epoch, or was altered.
pub fn receive(
    sealed: &SealedToNode,
    own: &WrapContext<'_>,
    epoch: u32,
    private: &SealingPrivateKey,
) -> Result<DataKey, UnwrapError> {
    let bytes = sealing::open(private, &context(own, epoch), sealed).map_err(|_| UnwrapError::Altered)?;
    DataKey::from_bytes(epoch, &bytes).ok_or(UnwrapError::Altered)
}

fn context(server: &WrapContext<'_>, epoch: u32) -> Vec<u8> {
    AssociatedData::new(DOMAIN).text(server.fleet).text(server.server).bytes(&epoch.to_be_bytes()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{Sealer, SecretContext};

    const TO: WrapContext<'_> = WrapContext { fleet: "f", server: "2" };

    #[test]
    fn a_voter_opens_what_another_voter_sealed_after_the_key_was_handed_over() {
        let key = DataKey::generate(3).unwrap();
        let private = SealingPrivateKey::generate().unwrap();
        let sealed = hand_over(&key, &TO, &private.public()).unwrap();
        let received = receive(&sealed, &TO, 3, &private).unwrap();
        let context = SecretContext { cluster: "", kind: "k", object: "o", revision: 1 };
        let secret = Sealer::new("f", [key]).unwrap().seal(&context, b"secret").unwrap();
        let opened = Sealer::new("f", [received]).unwrap().open(&context, &secret).unwrap();
        assert_eq!(opened.as_slice(), b"secret");
    }

    #[test]
    fn another_server_fleet_epoch_or_key_receives_nothing() {
        let key = DataKey::generate(3).unwrap();
        let private = SealingPrivateKey::generate().unwrap();
        let sealed = hand_over(&key, &TO, &private.public()).unwrap();
        for (own, epoch) in [(WrapContext { server: "3", ..TO }, 3), (WrapContext { fleet: "g", ..TO }, 3), (TO, 4)] {
            assert_eq!(receive(&sealed, &own, epoch, &private).unwrap_err(), UnwrapError::Altered);
        }
        let other = SealingPrivateKey::generate().unwrap();
        assert_eq!(receive(&sealed, &TO, 3, &other).unwrap_err(), UnwrapError::Altered);
    }
}
