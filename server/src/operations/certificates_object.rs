//! `kubeadm-certs` as the leader uploads it: the PKI under the certificate key of the join window, and the token that ends it.

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use muster_state::{ClusterId, record::Cluster};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{
    Unsealed,
    payload::{extra, open_certificate_key},
    vault::Secret,
};
use crate::kubeadm::{
    certs_secret::{Files, OWNER_DESCRIPTION, Owner, generate_manifest},
    redacted::SecretManifest,
    token::BootstrapToken,
    token_secret::{TokenSecret, Usages},
};

/// Life of an upload, as kubeadm has it (`DefaultCertTokenDuration`): whatever becomes of Muster, it ends by itself.
const LIFETIME_MS: u64 = 2 * 60 * 60 * 1000;
/// Symbols of a token's public part.
const SYMBOLS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Public part of the token that owns the Secret. It follows from the cluster, so that each upload extends the same one and nobody
/// has to remember it; the token is good for nothing.
#[must_use]
pub fn owner_id(cluster: &ClusterId) -> String {
    let hash = Sha256::digest(format!("kubeadm-certs of {cluster}"));
    hash.iter().take(6).map(|byte| char::from(SYMBOLS[usize::from(*byte) % SYMBOLS.len()])).collect()
}

/// The owning token's Secret: no usages, no groups, two hours from `now_ms`. When the cluster's token cleaner deletes it, the garbage
/// collector deletes `kubeadm-certs` (kubeadm cmd/phases/copycerts).
///
/// # Errors
/// If the system's random source fails, or the time is out of range.
pub fn owner(cluster: &ClusterId, now_ms: u64) -> anyhow::Result<SecretManifest> {
    let random = BootstrapToken::generate().map_err(|err| anyhow!(err))?;
    let whole = Zeroizing::new(format!("{}.{}", owner_id(cluster), random.expose_secret()));
    let token = BootstrapToken::parse(&whole).map_err(|err| anyhow!(err))?;
    let until = i64::try_from(now_ms.saturating_add(LIFETIME_MS)).ok();
    let expires = until.and_then(|ms| Timestamp::from_millisecond(ms).ok()).context("an expiry out of range")?;
    let description = Some(OWNER_DESCRIPTION.to_owned());
    let secret = TokenSecret { usages: Usages::NONE, groups: Vec::new(), expires: Some(expires), description };
    Ok(secret.manifest(&token)?)
}

/// The Secret `kubeadm-certs`, complete for the cluster's topology; what is not stored here (the key of an external authority) is
/// left empty, as kubeadm does.
///
/// # Errors
/// If this server has no keys, or what is stored is damaged.
pub fn render(server: &Unsealed, cluster: &Cluster, owner: &Owner) -> anyhow::Result<Value> {
    let keys = server.keys()?;
    let topology = extra(cluster)?.etcd_topology();
    let mut files = Files::new();
    for file in topology.shared_files() {
        let Some(path) = file.path else { continue };
        let certificate = cluster.certificates.iter().find(|certificate| certificate.name == path);
        let plain = match (path, certificate, cluster.keys.get(path)) {
            ("sa.pub", ..) => Zeroizing::new(cluster.service_account_public.clone().into_bytes()),
            (_, Some(certificate), _) => Zeroizing::new(certificate.pem.clone().into_bytes()),
            (_, None, Some(sealed)) => Secret::ClusterKey(&cluster.id, path).open(&keys.sealer, sealed)?,
            (_, None, None) => continue,
        };
        files.insert(file.data_key.to_owned(), plain);
    }
    let key = open_certificate_key(server, &cluster.id, cluster)?;
    Ok(generate_manifest(topology, &files, &key, Some(owner))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_clusters_certificates_is_always_the_same_and_good_for_nothing() {
        let (one, other) = (ClusterId::from("c1"), ClusterId::from("c2"));
        assert_eq!(owner_id(&one), owner_id(&one));
        assert_ne!(owner_id(&one), owner_id(&other));
        let secret = owner(&one, 1_800_000_000_000).unwrap();
        assert_eq!(secret.name(), format!("bootstrap-token-{}", owner_id(&one)));
        let names: Vec<&String> = secret.expose()["data"].as_object().unwrap().keys().collect();
        assert!(names.iter().all(|name| !name.starts_with("usage-") && *name != "auth-extra-groups"), "{names:?}");
        assert!(names.iter().any(|name| *name == "expiration"));
    }
}
