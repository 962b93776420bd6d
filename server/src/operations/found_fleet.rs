//! The first start: a fleet's roots of trust and its first data key, all sealed before they enter the log.

use std::collections::BTreeMap;

use anyhow::Context as _;
use muster_state::{Bytes, FleetId, command::FoundFleet, record::Fleet};
use muster_trust::Role;
use rustls_pki_types::CertificateDer;

use super::vault::Secret;
use crate::{
    clock::now_ms,
    ledger::Ledger,
    pki::{Authority, FleetParts, FleetPki},
    seal::{DataKey, SealKey, Sealer, SecretBytes, WrapContext, WrappedDataKey},
};

/// The epoch of the first data key.
const FIRST_EPOCH: u32 = 1;

/// Makes a fleet and puts it to the ledger.
pub async fn run(ledger: &Ledger, seal_key: &SealKey, server_id: u64) -> anyhow::Result<()> {
    let id = FleetId(uuid::Uuid::new_v4().to_string());
    let data_key = DataKey::generate(FIRST_EPOCH)?;
    let server = server_id.to_string();
    let wrapped = data_key.wrap(seal_key, &WrapContext { fleet: id.as_str(), server: &server })?;
    let sealer = Sealer::new(id.as_str(), vec![data_key])?;
    let made = FleetPki::generate(id.as_str(), now_ms())?;
    let mut keys =
        BTreeMap::from([("root".to_owned(), Secret::FleetKey("root").seal(&sealer, 1, made.root_key.expose())?)]);
    let mut intermediates = BTreeMap::new();
    for role in Role::ALL {
        let authority = made.pki.authority(role);
        let sealed = Secret::FleetKey(role.as_str()).seal(&sealer, 1, authority.key().expose())?;
        keys.insert(role.as_str().to_owned(), sealed);
        intermediates.insert(role.as_str().to_owned(), Bytes(authority.certificate().to_vec()));
    }
    let root = Bytes(made.pki.root().to_vec());
    let wrapped = BTreeMap::from([(server_id, Bytes(wrapped.bytes))]);
    ledger.propose(FoundFleet { id, root, intermediates, keys, wrapped }).await?;
    Ok(())
}

/// Opens a founded fleet with this server's seal key. Fails, and changes nothing, with a wrong key.
pub fn open(fleet: &Fleet, seal_key: &SealKey, server_id: u64) -> anyhow::Result<(Sealer, FleetPki)> {
    let (mut data_keys, server) = (Vec::new(), server_id.to_string());
    for (epoch, wrapped) in &fleet.epochs {
        let wrapped = wrapped
            .get(&server_id)
            .with_context(|| format!("no data key of epoch {epoch} is wrapped for this server"))?;
        let context = WrapContext { fleet: fleet.id.as_str(), server: &server };
        data_keys.push(DataKey::unwrap(seal_key, &context, *epoch, &WrappedDataKey { bytes: wrapped.0.clone() })?);
    }
    let sealer = Sealer::new(fleet.id.as_str(), data_keys)?;
    let authority = |role: Role| -> anyhow::Result<Authority> {
        let certificate = fleet.intermediates.get(role.as_str()).with_context(|| format!("no {role} intermediate"))?;
        let sealed = fleet.keys.get(role.as_str()).with_context(|| format!("no {role} key"))?;
        let key = Secret::FleetKey(role.as_str()).open(&sealer, sealed)?;
        let key = SecretBytes::from(key.to_vec());
        Ok(Authority::from_parts(CertificateDer::from(certificate.0.clone()), &key)?)
    };
    let parts = FleetParts {
        root: CertificateDer::from(fleet.root.0.clone()),
        server: authority(Role::Server)?,
        node: authority(Role::Node)?,
        operator: authority(Role::Operator)?,
    };
    let pki = FleetPki::from_parts(fleet.id.as_str(), parts)?;
    Ok((sealer, pki))
}
