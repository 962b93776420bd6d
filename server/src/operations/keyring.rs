//! The keys of a voter: the fleet's data keys and authorities. A server that is no voter has none and relays; when the state
//! gives it some, or the fleet begins a new epoch, they are replaced as a whole and without a restart.

use std::sync::Arc;

use anyhow::Context as _;
use muster_state::record::Fleet;
use muster_trust::Role;
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;

use super::vault::Secret;
use crate::{
    pki::{Authority, FleetAnchors, FleetParts, FleetPki},
    seal::{OwnKeys, Sealer, SecretBytes, StoredDataKey, WrapContext},
};

/// What a voter opens, seals and signs with. Of one moment: hold it for one operation, not longer.
#[derive(Debug)]
pub struct Keys {
    /// Opens and seals secrets.
    pub sealer: Sealer,
    /// Signs certificates.
    pub pki: FleetPki,
}

/// The keys of one server, present or not; cheap to clone.
#[derive(Clone, Debug)]
pub struct Keyring {
    server: u64,
    own: Arc<OwnKeys>,
    keys: Arc<watch::Sender<Option<Arc<Keys>>>>,
}

impl Keyring {
    /// An empty keyring of the server with this Raft id.
    pub fn new(server: u64, own: Arc<OwnKeys>) -> Self {
        Self { server, own, keys: Arc::new(watch::Sender::new(None)) }
    }

    /// The server's own keys, which open what is wrapped for it.
    pub fn own(&self) -> &Arc<OwnKeys> {
        &self.own
    }

    /// The fleet's keys, if this server has them.
    pub fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.borrow().clone()
    }

    /// Watches for other keys.
    pub fn watch(&self) -> watch::Receiver<Option<Arc<Keys>>> {
        self.keys.subscribe()
    }

    /// Opens what the fleet holds for this server, if that is more or other than what is open. Whether it has keys now.
    /// With a passphrase it may occupy a thread for a third of a second.
    ///
    /// # Errors
    /// If the server's own keys do not open them; nothing is changed then.
    pub fn refresh(&self, fleet: &Fleet) -> anyhow::Result<bool> {
        if self.keys().is_some_and(|keys| keys.is_of(fleet)) {
            return Ok(true);
        }
        let opened = open(fleet, &self.own, self.server)?;
        let has = opened.is_some();
        self.keys.send_replace(opened.map(Arc::new));
        Ok(has)
    }
}

impl Keys {
    /// Data keys and authorities never change, they only become more: a new epoch.
    fn is_of(&self, fleet: &Fleet) -> bool {
        self.sealer.epochs().eq(fleet.epochs.keys().copied()) && self.pki.fleet() == fleet.id.as_str()
    }
}

/// Opens the fleet with a server's own keys; `None` unless a data key of every epoch is there for it.
///
/// # Errors
/// If they are the wrong ones, or a record is damaged.
pub fn open(fleet: &Fleet, own: &OwnKeys, server: u64) -> anyhow::Result<Option<Keys>> {
    let (mut data_keys, name) = (Vec::new(), server.to_string());
    for (epoch, servers) in &fleet.epochs {
        let Some(stored) = servers.get(&server) else { return Ok(None) };
        let context = WrapContext { fleet: fleet.id.as_str(), server: &name };
        data_keys.push(StoredDataKey::from_bytes(&stored.0)?.open(own, &context, *epoch)?);
    }
    let sealer = Sealer::new(fleet.id.as_str(), data_keys)?;
    let authority = |role: Role| -> anyhow::Result<Authority> {
        let certificate = fleet.intermediates.get(role.as_str()).with_context(|| format!("no {role} intermediate"))?;
        let sealed = fleet.keys.get(role.as_str()).with_context(|| format!("no {role} key"))?;
        let key = Secret::FleetKey(role.as_str()).open(&sealer, sealed)?;
        Ok(Authority::from_parts(CertificateDer::from(certificate.0.clone()), &SecretBytes::from(key))?)
    };
    let parts = FleetParts {
        root: CertificateDer::from(fleet.root.0.clone()),
        server: authority(Role::Server)?,
        node: authority(Role::Node)?,
        operator: authority(Role::Operator)?,
    };
    let pki = FleetPki::from_parts(fleet.id.as_str(), parts)?;
    Ok(Some(Keys { sealer, pki }))
}

/// The public half of the fleet's authorities.
///
/// # Errors
/// If what is stored of them does not fit together.
pub fn anchors(fleet: &Fleet) -> anyhow::Result<FleetAnchors> {
    let of = |role: Role| Some(CertificateDer::from(fleet.intermediates.get(role.as_str())?.0.clone()));
    Ok(FleetAnchors::new(fleet.id.as_str(), CertificateDer::from(fleet.root.0.clone()), of)?)
}

#[cfg(test)]
mod tests {
    use muster_state::{Bytes, State};
    use muster_trust::sealing::SealingPrivateKey;

    use super::*;
    use crate::{
        api::fixture::NOW_MS,
        operations::found_fleet,
        seal::{DataKey, SealKey, SecretContext, hand_over},
    };

    const CONTEXT: SecretContext<'_> = SecretContext { cluster: "", kind: "k", object: "o", revision: 1 };

    fn mk_own(byte: u8) -> Arc<OwnKeys> {
        let sealing = SealingPrivateKey::generate().unwrap();
        Arc::new(OwnKeys { seal: SealKey::from_bytes(&[byte; 32]).unwrap(), before: None, sealing })
    }

    fn mk_fleet(own: &OwnKeys) -> Fleet {
        let mut state = State::default();
        state.apply_verb(NOW_MS, found_fleet::make(&own.seal, 1, NOW_MS).unwrap()).unwrap();
        state.fleet.unwrap()
    }

    /// What the founder does for server 2: every data key, sealed to its sealing key.
    fn hand_all(fleet: &mut Fleet, from: &Keys, to: &OwnKeys) {
        for epoch in from.sealer.epochs() {
            let context = WrapContext { fleet: fleet.id.as_str(), server: "2" };
            let sealed = hand_over(from.sealer.data_key(epoch).unwrap(), &context, &to.sealing.public()).unwrap();
            let stored = Bytes(StoredDataKey::HandedOver(sealed).to_bytes());
            fleet.epochs.entry(epoch).or_default().insert(2, stored);
        }
    }

    #[test]
    fn a_server_without_keys_gets_them_when_they_are_handed_over_and_opens_what_the_founder_sealed() {
        let (founder, second) = (mk_own(1), mk_own(2));
        let mut fleet = mk_fleet(&founder);
        let (first, ring) = (Keyring::new(1, founder), Keyring::new(2, Arc::clone(&second)));
        assert!(first.refresh(&fleet).unwrap());
        assert!(!ring.refresh(&fleet).unwrap() && ring.keys().is_none());
        let mut watch = ring.watch();
        watch.mark_unchanged();
        hand_all(&mut fleet, &first.keys().unwrap(), &second);
        assert!(ring.refresh(&fleet).unwrap() && watch.has_changed().unwrap());
        let sealed = first.keys().unwrap().sealer.seal(&CONTEXT, b"secret").unwrap();
        assert_eq!(ring.keys().unwrap().sealer.open(&CONTEXT, &sealed).unwrap().as_slice(), b"secret");
        assert_eq!(ring.keys().unwrap().pki.root(), first.keys().unwrap().pki.root());
    }

    #[test]
    fn a_new_epoch_replaces_the_keys_of_whoever_was_given_it_and_no_one_elses() {
        let founder = mk_own(1);
        let mut fleet = mk_fleet(&founder);
        let ring = Keyring::new(1, Arc::clone(&founder));
        ring.refresh(&fleet).unwrap();
        let before = ring.keys().unwrap();
        ring.refresh(&fleet).unwrap();
        assert!(Arc::ptr_eq(&before, &ring.keys().unwrap()), "the same keys were opened twice");
        let (next, context) = (DataKey::generate(2).unwrap(), WrapContext { fleet: fleet.id.as_str(), server: "1" });
        let stored = StoredDataKey::HandedOver(hand_over(&next, &context, &founder.sealing.public()).unwrap());
        fleet.epochs.insert(2, [(1, Bytes(stored.to_bytes()))].into());
        ring.refresh(&fleet).unwrap();
        assert_eq!(ring.keys().unwrap().sealer.epoch(), 2);
        // What is in hand stays usable for its operation.
        assert_eq!(before.sealer.epoch(), 1);
        let mut without = fleet.clone();
        without.epochs.insert(3, [(9, Bytes(vec![2]))].into());
        assert!(!ring.refresh(&without).unwrap() && ring.keys().is_none());
    }

    #[test]
    fn the_wrong_key_opens_nothing_and_changes_nothing() {
        let founder = mk_own(1);
        let fleet = mk_fleet(&founder);
        let ring = Keyring::new(1, mk_own(2));
        let error = ring.refresh(&fleet).unwrap_err();
        assert!(error.to_string().contains("not the seal key"), "{error:#}");
        assert!(ring.keys().is_none());
    }
}
