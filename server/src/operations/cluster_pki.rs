//! A cluster's PKI as its record holds it: certificates in the clear, keys sealed.

use std::collections::BTreeMap;

use muster_state::{
    ClusterId,
    record::{CaCertificate, SealedSecret},
};
use muster_trust::Pin;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use super::vault::Secret;
use crate::{
    pki::{ClusterPki, PkiFile, file},
    seal::Sealer,
};

/// The parts of a cluster's record that come from its PKI.
pub struct Stored {
    /// Public certificates with pins and expiry.
    pub certificates: Vec<CaCertificate>,
    /// Public half of the service-account key.
    pub service_account_public: String,
    /// Private keys, sealed.
    pub keys: BTreeMap<String, SealedSecret>,
}

/// Seals the keys of a PKI for a cluster.
pub fn store(sealer: &Sealer, cluster: &ClusterId, pki: &ClusterPki) -> anyhow::Result<Stored> {
    let mut stored = Stored { certificates: Vec::new(), service_account_public: String::new(), keys: BTreeMap::new() };
    for (name, content) in &pki.files {
        match content {
            PkiFile::Secret(key) => {
                let sealed = Secret::ClusterKey(cluster, name).seal(sealer, 1, key.expose().as_bytes())?;
                stored.keys.insert((*name).to_owned(), sealed);
            }
            PkiFile::Public(text) if *name == file::SA_PUB => stored.service_account_public.clone_from(text),
            PkiFile::Public(text) => stored.certificates.push(certificate(name, text)?),
        }
    }
    Ok(stored)
}

fn certificate(name: &str, pem: &str) -> anyhow::Result<CaCertificate> {
    let (mut pins, mut not_after_ms) = (Vec::new(), None);
    for item in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let der = item.map_err(|err| anyhow::anyhow!("{name}: {err}"))?;
        pins.push(Pin::of_certificate(&der)?.to_string());
        not_after_ms.get_or_insert(crate::pki::not_after_ms(&der)?);
    }
    Ok(CaCertificate { name: name.into(), pem: pem.into(), pins, not_after_ms: not_after_ms.unwrap_or_default() })
}
