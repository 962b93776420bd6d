//! `kubeadm-certs`: the Secret by which control planes get the cluster's CAs, encrypted under the certificate key.
//!
//! Every value is AES-256-GCM with the 12-byte nonce in front and no associated data, as kubeadm does it. Because of
//! that last point the values can be swapped between names by whoever may write the Secret; that is stock kubeadm's
//! limit and the reason for delivering the files directly where it matters.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

use super::certificate_key::CertificateKey;

/// The Secret's name, in namespace `kube-system`.
pub const NAME: &str = "kubeadm-certs";
/// The description that kubeadm gives to the usage-less token that owns the Secret and ends it.
pub const OWNER_DESCRIPTION: &str = "Proxy for managing TTL for the kubeadm-certs secret";

/// Where the cluster's etcd runs; it decides which files are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtcdTopology {
    /// A member on each control plane.
    Stacked,
    /// Elsewhere.
    External,
}

/// A file that the control planes of a cluster share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedFile {
    /// Its name in the Secret's data.
    pub data_key: &'static str,
    /// Its path below the certificates' folder; for external etcd the cluster's configuration names the path.
    pub path: Option<&'static str>,
}

const fn shared(data_key: &'static str, path: &'static str) -> SharedFile {
    SharedFile { data_key, path: Some(path) }
}

const fn elsewhere(data_key: &'static str) -> SharedFile {
    SharedFile { data_key, path: None }
}

const STACKED: [SharedFile; 8] = [
    shared("ca.crt", "ca.crt"),
    shared("ca.key", "ca.key"),
    shared("front-proxy-ca.crt", "front-proxy-ca.crt"),
    shared("front-proxy-ca.key", "front-proxy-ca.key"),
    shared("sa.pub", "sa.pub"),
    shared("sa.key", "sa.key"),
    shared("etcd-ca.crt", "etcd/ca.crt"),
    shared("etcd-ca.key", "etcd/ca.key"),
];

const EXTERNAL: [SharedFile; 9] = [
    STACKED[0],
    STACKED[1],
    STACKED[2],
    STACKED[3],
    STACKED[4],
    STACKED[5],
    elsewhere("external-etcd-ca.crt"),
    elsewhere("external-etcd.crt"),
    elsewhere("external-etcd.key"),
];

impl EtcdTopology {
    /// All files of the topology. kubeadm refuses a Secret in which one of these names is missing.
    pub fn shared_files(self) -> &'static [SharedFile] {
        match self {
            Self::Stacked => &STACKED,
            Self::External => &EXTERNAL,
        }
    }
}

/// Plain files by data key. An empty or absent file means "not stored": that is how the key of an external CA is left out.
pub type Files = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// The bootstrap token Secret whose deletion deletes `kubeadm-certs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The owning object's name, `bootstrap-token-<id>`.
    pub name: String,
    /// Its uid, known once it has been created.
    pub uid: String,
}

/// Why the Secret could not be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertsSecretError {
    /// A file that the topology does not have.
    #[error("{0:?} is no file of this etcd topology")]
    ForeignFile(String),
    /// A name of the topology is absent from the Secret.
    #[error("{NAME} has no entry {0:?}")]
    Missing(String),
    /// A value is neither empty nor base64 of nonce, ciphertext and tag.
    #[error("the entry {0:?} of {NAME} is malformed")]
    Malformed(String),
    /// Another key, or changed since.
    #[error("the entry {0:?} of {NAME} does not open with this certificate key")]
    WrongKey(String),
    /// The encryption itself failed; nothing was made.
    #[error("encryption failed")]
    Encryption,
}

/// The encrypted Secret, each value under a nonce of its own from the system's random source.
pub fn generate_manifest(
    topology: EtcdTopology,
    files: &Files,
    key: &CertificateKey,
    owner: Option<&Owner>,
) -> Result<Value, CertsSecretError> {
    let names = topology.shared_files();
    if let Some(name) = files.keys().find(|name| names.iter().all(|file| file.data_key != name.as_str())) {
        return Err(CertsSecretError::ForeignFile(name.clone()));
    }
    let mut data = Map::new();
    for file in names {
        let value = match files.get(file.data_key) {
            Some(plain) if !plain.is_empty() => STANDARD.encode(generate_encrypted(plain, key)?),
            _ => String::new(),
        };
        data.insert(file.data_key.to_owned(), value.into());
    }
    let mut metadata = json!({ "name": NAME, "namespace": "kube-system" });
    if let Some(owner) = owner {
        metadata["ownerReferences"] = json!([{
            "apiVersion": "v1",
            "kind": "Secret",
            "name": owner.name,
            "uid": owner.uid,
            "controller": true,
            "blockOwnerDeletion": true,
        }]);
    }
    Ok(json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data }))
}

/// The plain files of a Secret as the API server returns it; names stored empty are left out.
pub fn open(topology: EtcdTopology, secret: &Value, key: &CertificateKey) -> Result<Files, CertsSecretError> {
    let mut files = Files::new();
    for file in topology.shared_files() {
        let name = || file.data_key.to_owned();
        let value = secret["data"].get(file.data_key).ok_or_else(|| CertsSecretError::Missing(name()))?;
        let text = value.as_str().ok_or_else(|| CertsSecretError::Malformed(name()))?;
        let sealed = STANDARD.decode(text).map_err(|_| CertsSecretError::Malformed(name()))?;
        if !sealed.is_empty() {
            files.insert(name(), decrypt(file.data_key, &sealed, key)?);
        }
    }
    Ok(files)
}

fn generate_encrypted(plain: &[u8], key: &CertificateKey) -> Result<Vec<u8>, CertsSecretError> {
    let cipher = cipher(key)?;
    // Room for the tag, so that no copy of the plain text stays behind where the buffer grew.
    let mut sealed = Vec::with_capacity(plain.len() + AES_256_GCM.tag_len());
    sealed.extend_from_slice(plain);
    let nonce = cipher.seal_in_place_append_tag(Aad::empty(), &mut sealed).map_err(|_| CertsSecretError::Encryption)?;
    let mut value = nonce.as_ref().to_vec();
    value.append(&mut sealed);
    Ok(value)
}

fn decrypt(name: &str, value: &[u8], key: &CertificateKey) -> Result<Zeroizing<Vec<u8>>, CertsSecretError> {
    let malformed = || CertsSecretError::Malformed(name.to_owned());
    let (nonce, sealed) = value.split_at_checked(NONCE_LEN).ok_or_else(malformed)?;
    if sealed.len() < AES_256_GCM.tag_len() {
        return Err(malformed());
    }
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| malformed())?;
    let mut plain = Zeroizing::new(sealed.to_vec());
    let length = cipher(key)?
        .open_in_place(nonce, Aad::empty(), &mut plain)
        .map_err(|_| CertsSecretError::WrongKey(name.to_owned()))?
        .len();
    plain.truncate(length);
    Ok(plain)
}

fn cipher(key: &CertificateKey) -> Result<RandomizedNonceKey, CertsSecretError> {
    RandomizedNonceKey::new(&AES_256_GCM, key.expose_bytes()).map_err(|_| CertsSecretError::Encryption)
}

#[cfg(test)]
mod tests;
