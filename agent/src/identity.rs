//! Who this machine is: its keys, made on it and never leaving it, and the certificate that a fleet gave it.
//!
//! Every key is on the disk before anybody hears of it, so that a crash never loses a key that a server has bound.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_trust::sealing::{SealingError, SealingPrivateKey};
use muster_trust::{Peer, Pin, TlsIdentity};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::durable;

/// The identity as it is stored, without any key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The fleet's id for this machine.
    pub node_id: String,
    /// The fleet.
    pub fleet: String,
    /// Grows with each renewal.
    pub generation: u64,
    /// Number of the key's file.
    pub key: u64,
    /// DER in hexadecimal, the leaf first.
    chain: Vec<String>,
    /// DER of the fleet root in hexadecimal.
    root: String,
    /// https URLs of node listeners.
    pub node_urls: Vec<String>,
}

impl Identity {
    /// Of what a server answered.
    pub fn new(node_id: &str, fleet: &str, generation: u64, key: u64, chain: &[Vec<u8>], root: &[u8]) -> Self {
        Self {
            node_id: node_id.to_owned(),
            fleet: fleet.to_owned(),
            generation,
            key,
            chain: chain.iter().map(hex::encode).collect(),
            root: hex::encode(root),
            node_urls: Vec::new(),
        }
    }

    /// The same machine with the answer to a renewal.
    #[must_use]
    pub fn renewed(&self, generation: u64, key: u64, chain: &[Vec<u8>]) -> Self {
        Self { generation, key, chain: chain.iter().map(hex::encode).collect(), ..self.clone() }
    }

    /// The certificates, the leaf first.
    ///
    /// # Errors
    /// If the stored text is damaged.
    pub fn chain(&self) -> Result<Vec<CertificateDer<'static>>, KeyError> {
        self.chain.iter().map(|text| decode(text)).collect()
    }

    /// The fleet root.
    ///
    /// # Errors
    /// If the stored text is damaged.
    pub fn root(&self) -> Result<CertificateDer<'static>, KeyError> {
        decode(&self.root)
    }

    /// First and last moment of the certificate, milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// If it is no node's certificate.
    pub fn validity(&self) -> Result<(u64, u64), KeyError> {
        let peer = Peer::of_certificates(&self.chain()?).map_err(|error| KeyError::Certificate(error.to_string()))?;
        Ok((peer.not_before_ms, peer.not_after_ms))
    }
}

fn decode(text: &str) -> Result<CertificateDer<'static>, KeyError> {
    hex::decode(text).map(CertificateDer::from).map_err(|error| KeyError::Certificate(error.to_string()))
}

/// When a certificate is to be renewed: at two thirds of its life, at most a twentieth earlier by `share` (0 to 255), so that
/// machines that enrolled together do not renew together.
pub fn renew_at_ms((not_before, not_after): (u64, u64), share: u8) -> u64 {
    let life = not_after.saturating_sub(not_before);
    let early = life / 20 / 255 * u64::from(share);
    (not_before + life / 3 * 2).saturating_sub(early)
}

/// Why keys or certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The disk refused.
    #[error("cannot read or write {}: {source}", path.display())]
    Disk {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A key is damaged.
    #[error("{} is no usable key; if it is lost for good, remove the state directory and enrol anew", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
    },
    /// A certificate is damaged, or not a node's.
    #[error("the stored certificate cannot be used: {0}")]
    Certificate(String),
}

/// The identity key.
pub struct IdentityKey {
    pair: KeyPair,
}

// By hand: it is a private key.
impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityKey({})", self.fingerprint())
    }
}

impl IdentityKey {
    /// SHA-256 of its SPKI: what an operator compares with the console.
    pub fn fingerprint(&self) -> Pin {
        Pin::of_spki(&self.pair.subject_public_key_info())
    }

    /// PKCS#10 in DER. It names nobody: names come from operators.
    ///
    /// # Errors
    /// If signing fails.
    pub fn request(&self) -> Result<Vec<u8>, KeyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&self.pair).map_err(|error| KeyError::Certificate(error.to_string()))?;
        Ok(request.der().to_vec())
    }

    /// PKCS#8 in DER.
    pub fn pkcs8(&self) -> &[u8] {
        self.pair.serialized_der()
    }

    /// What this machine shows, with the certificates `chain`.
    pub fn with_chain(&self, chain: Vec<CertificateDer<'static>>) -> TlsIdentity {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pkcs8().to_vec()));
        TlsIdentity { chain, key }
    }
}

/// The directory with keys and certificate.
#[derive(Debug, Clone)]
pub struct Keyring {
    dir: PathBuf,
}

impl Keyring {
    /// The keyring in `dir`, which is made with mode 0700 where it is absent.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn open(dir: &Path) -> Result<Self, KeyError> {
        durable::make_dir(dir, 0o700).map_err(|source| KeyError::Disk { path: dir.to_owned(), source })?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// The stored identity, if a fleet has given one.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn identity(&self) -> Result<Option<Identity>, KeyError> {
        let path = self.dir.join("identity.json");
        let Some(bytes) = self.read(&path)? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| KeyError::Certificate(error.to_string()))
    }

    /// Replaces the stored identity.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn keep(&self, identity: &Identity) -> Result<(), KeyError> {
        let text = serde_json::to_vec_pretty(identity).map_err(|error| KeyError::Certificate(error.to_string()))?;
        self.write(&self.dir.join("identity.json"), &text)
    }

    /// The identity key with this number, made and stored if there is none.
    ///
    /// # Errors
    /// If the disk refuses or the key is damaged.
    pub fn key(&self, number: u64) -> Result<IdentityKey, KeyError> {
        let path = self.dir.join(format!("identity-{number}.key"));
        if let Some(pem) = self.read(&path)? {
            let pem = std::str::from_utf8(&pem).map_err(|_| KeyError::Key { path: path.clone() })?;
            let pair = KeyPair::from_pkcs8_pem_and_sign_algo(pem, &rcgen::PKCS_ECDSA_P256_SHA256);
            return pair.map(|pair| IdentityKey { pair }).map_err(|_| KeyError::Key { path });
        }
        let pair =
            KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(|_| KeyError::Key { path: path.clone() })?;
        self.write(&path, &Zeroizing::new(pair.serialize_pem().into_bytes()))?;
        Ok(IdentityKey { pair })
    }

    /// The key to which secrets for this machine are sealed, made and stored if there is none.
    ///
    /// # Errors
    /// If the disk refuses or the key is damaged.
    pub fn sealing(&self) -> Result<SealingPrivateKey, KeyError> {
        let path = self.dir.join("sealing.key");
        let bad = |_: SealingError| KeyError::Key { path: path.clone() };
        if let Some(bytes) = self.read(&path)? {
            return SealingPrivateKey::from_bytes(&bytes).map_err(bad);
        }
        let key = SealingPrivateKey::generate().map_err(bad)?;
        self.write(&path, key.to_bytes().as_slice())?;
        Ok(key)
    }

    /// Removes the keys before number `current`, once that one is in use.
    pub fn drop_older(&self, current: u64) {
        for number in (current.saturating_sub(8)..current).rev() {
            let path = self.dir.join(format!("identity-{number}.key"));
            if let Err(error) = durable::remove(&path) {
                tracing::warn!(path = %path.display(), %error, "an old key could not be removed");
            }
        }
    }

    fn read(&self, path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, KeyError> {
        match fs::read(path) {
            Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(KeyError::Disk { path: path.to_owned(), source }),
        }
    }

    fn write(&self, path: &Path, content: &[u8]) -> Result<(), KeyError> {
        durable::write(path, 0o600, content).map_err(|source| KeyError::Disk { path: path.to_owned(), source })
    }
}

/// Whether `dir` lies on a file system that does not survive a reboot.
pub fn is_ephemeral(dir: &Path) -> bool {
    const TMPFS: i128 = 0x0102_1994;
    const RAMFS: i128 = 0x8584_58f6;
    const OVERLAY: i128 = 0x794c_7630;
    let kind = |path: &Path| rustix::fs::statfs(path).ok().map(|found| i128::from(found.f_type) & 0xffff_ffff);
    match kind(dir) {
        Some(TMPFS | RAMFS) => true,
        // What is written lies in the upper directory; one that cannot be seen from here may be anything.
        Some(OVERLAY) => upper_dir().and_then(|upper| kind(&upper)).is_some_and(|kind| kind == TMPFS || kind == RAMFS),
        _ => false,
    }
}

/// The upper directory of the root, if that is an overlay.
fn upper_dir() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let root = mounts
        .lines()
        .rfind(|line| line.split(' ').nth(1) == Some("/") && line.split(' ').nth(2) == Some("overlay"))?;
    let options = root.split(' ').nth(3)?;
    options.split(',').find_map(|option| option.strip_prefix("upperdir=")).map(PathBuf::from)
}

/// How long an unreachable server is waited for before a renewal is tried again.
pub const RENEW_AGAIN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_are_made_once_and_readable_by_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let keyring = Keyring::open(&dir.path().join("state")).unwrap();
        let (first, again) = (keyring.key(1).unwrap(), keyring.key(1).unwrap());
        assert_eq!(first.fingerprint(), again.fingerprint());
        assert_ne!(first.fingerprint(), keyring.key(2).unwrap().fingerprint());
        assert_eq!(keyring.sealing().unwrap().public(), keyring.sealing().unwrap().public());
        for entry in fs::read_dir(dir.path().join("state")).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(dir.path().join("state")).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_damaged_key_is_refused_rather_than_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let keyring = Keyring::open(dir.path()).unwrap();
        fs::write(dir.path().join("identity-1.key"), "nonsense").unwrap();
        fs::write(dir.path().join("sealing.key"), "short").unwrap();
        assert!(matches!(keyring.key(1), Err(KeyError::Key { .. })));
        assert!(matches!(keyring.sealing(), Err(KeyError::Key { .. })));
    }

    #[test]
    fn an_identity_survives_the_disk_and_old_keys_go() {
        let dir = tempfile::tempdir().unwrap();
        let keyring = Keyring::open(dir.path()).unwrap();
        assert_eq!(keyring.identity().unwrap(), None);
        let identity = Identity::new("node-1", "fleet-1", 1, 1, &[vec![1, 2]], &[3]);
        keyring.keep(&identity).unwrap();
        assert_eq!(keyring.identity().unwrap(), Some(identity.clone()));
        assert_eq!(identity.chain().unwrap()[0].as_ref(), [1, 2]);
        keyring.key(1).unwrap();
        keyring.key(2).unwrap();
        keyring.drop_older(2);
        assert!(!dir.path().join("identity-1.key").exists() && dir.path().join("identity-2.key").exists());
    }

    #[test]
    fn renewal_is_at_two_thirds_of_life_or_a_little_before() {
        let day = 86_400_000;
        let at = renew_at_ms((0, 30 * day), 0);
        assert!((20 * day - 3..=20 * day).contains(&at));
        let early = renew_at_ms((0, 30 * day), 255);
        assert!(early < at && early >= at - 30 * day / 20);
        assert_eq!(renew_at_ms((5, 5), 255), 5);
    }

    #[test]
    fn a_key_does_not_print() {
        let dir = tempfile::tempdir().unwrap();
        let key = Keyring::open(dir.path()).unwrap().key(1).unwrap();
        assert_eq!(format!("{key:?}"), format!("IdentityKey({})", key.fingerprint()));
    }
}
