//! Who this server is, as its own disk remembers it from the first start on.
//!
//! ```text
//! <data directory>/
//!   identity.json     number, fleet, certificate, and both private keys under this server's own seal key
//! <data directory>-seal/
//!   member            which server of which fleet this host is: what is left when the data directory was wiped
//! ```
//!
//! Reading order: this file (what is remembered), [`keys`] (the private halves), [`seal_key`] (where the seal key comes from),
//! [`marker`] (the word outside of the data directory).
//!
//! Absent on purpose: what the fleet knows of this server; that is in the replicated state.

pub mod keys;
pub mod marker;
pub mod seal_key;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use muster_state::{Bytes, Digest};
use muster_trust::Role;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::{
    pki::{FleetAnchors, PkiError},
    seal::{OwnKeys, SealError, SealKey, UnwrapError},
    storage,
};
use keys::IdentityKey;

/// Name of the file in the data directory.
const FILE: &str = "identity.json";
/// Layout of the file; first release, 2026-11.
const FORMAT: u32 = 1;
/// What the two private keys are kept as.
const IDENTITY_KEY: &str = "server-identity-key";
const SEALING_KEY: &str = "server-sealing-key";

/// What a server is remembered to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It founds a fleet, and did not get to the end of it yet.
    Founder,
    /// It asked to join a fleet, and was not let in yet.
    Applicant,
    /// It is a server of a fleet.
    Member(Membership),
}

/// A server's place in a fleet. Nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Its number among the servers of the fleet.
    pub server: u64,
    /// The fleet.
    pub fleet: String,
    /// DER of the fleet root.
    pub root: Bytes,
    /// DER of the intermediates by role.
    pub intermediates: BTreeMap<String, Bytes>,
    /// Its certificate, DER: leaf, intermediate, root.
    pub chain: Vec<Bytes>,
    /// The other servers, as far as it was told, by number.
    pub servers: BTreeMap<u64, KnownServer>,
}

/// Where another server is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownServer {
    /// `host:port` of its peer listener.
    pub address: String,
    /// https URLs of its enrolment listener.
    pub enrolment_urls: Vec<String>,
}

impl Membership {
    /// The public half of the fleet's authorities.
    ///
    /// # Errors
    /// If they do not fit together.
    pub fn anchors(&self) -> Result<FleetAnchors, PkiError> {
        let of = |role: Role| Some(CertificateDer::from(self.intermediates.get(role.as_str())?.0.clone()));
        FleetAnchors::new(&self.fleet, CertificateDer::from(self.root.0.clone()), of)
    }

    /// Its certificate chain.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.iter().map(|der| CertificateDer::from(der.0.clone())).collect()
    }
}

/// The content of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    standing: Standing,
    /// SHA-256 of the identity key's SPKI; also what binds the two kept keys to each other.
    fingerprint: Digest,
    identity_key: Bytes,
    sealing_key: Bytes,
}

/// Who this server is. It holds no secret in the clear.
#[derive(Clone, Debug)]
pub struct Identity {
    path: PathBuf,
    stored: Stored,
}

impl Identity {
    /// Reads the identity of a data directory; `None` if it has none.
    ///
    /// # Errors
    /// [`IdentityError::Damaged`] if the file is not one of ours, [`IdentityError::Unreadable`].
    pub fn read(data_dir: &Path) -> Result<Option<Self>, IdentityError> {
        let path = data_dir.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(IdentityError::Unreadable { path, source }),
        };
        let damaged = |why: String| IdentityError::Damaged { path: path.clone(), why };
        let stored: Stored = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if stored.format != FORMAT {
            return Err(damaged(format!("it has format {}, this version knows {FORMAT}", stored.format)));
        }
        Ok(Some(Self { path, stored }))
    }

    /// Makes both keys, keeps them under `seal_key`, and writes the file. The caller owns the data directory.
    ///
    /// # Errors
    /// If the system has no randomness or the disk refuses.
    pub fn create(data_dir: &Path, seal_key: SealKey, standing: Standing) -> Result<(Self, Private), IdentityError> {
        let private = Private::generate(seal_key)?;
        let fingerprint = private.identity.fingerprint();
        let kept = Kept::of(&private.identity, &private.own)?;
        let stored = Stored {
            format: FORMAT,
            standing,
            fingerprint,
            identity_key: kept.identity_key,
            sealing_key: kept.sealing_key,
        };
        let identity = Self { path: data_dir.join(FILE), stored };
        identity.write()?;
        Ok((identity, private))
    }

    /// Opens the private keys.
    ///
    /// # Errors
    /// [`IdentityError::Seal`] with the wrong seal key.
    pub fn open(&self, seal_key: SealKey) -> Result<Private, IdentityError> {
        let owner = self.stored.fingerprint.to_string();
        let pkcs8 = seal_key.recall(IDENTITY_KEY, &owner, &self.stored.identity_key.0)?;
        let sealing = seal_key.recall(SEALING_KEY, &owner, &self.stored.sealing_key.0)?;
        let identity = IdentityKey::from_pkcs8(pkcs8.into()).map_err(|_| self.damaged("its identity key is no key"))?;
        if identity.fingerprint() != self.stored.fingerprint {
            return Err(self.damaged("its identity key has another fingerprint"));
        }
        let sealing = muster_trust::sealing::SealingPrivateKey::from_bytes(&sealing)
            .map_err(|_| self.damaged("its sealing key is no key"))?;
        Ok(Private { identity, own: OwnKeys { seal: seal_key, before: None, sealing } })
    }

    /// What this server is remembered to be.
    pub const fn standing(&self) -> &Standing {
        &self.stored.standing
    }

    /// Its place in a fleet, if it has one.
    pub const fn membership(&self) -> Option<&Membership> {
        match &self.stored.standing {
            Standing::Member(membership) => Some(membership),
            Standing::Founder | Standing::Applicant => None,
        }
    }

    /// SHA-256 of its identity key's SPKI: what an operator compares.
    pub const fn fingerprint(&self) -> Digest {
        self.stored.fingerprint
    }

    /// Remembers another standing. After a crash it is the old one or this one.
    ///
    /// # Errors
    /// If the disk refuses; the file is then as it was.
    pub fn remember(&mut self, standing: Standing) -> Result<(), IdentityError> {
        let before = std::mem::replace(&mut self.stored.standing, standing);
        self.write().inspect_err(|_| self.stored.standing = before)
    }

    /// Keeps the same private keys under another seal key from now on.
    ///
    /// # Errors
    /// If the system has no randomness or the disk refuses; the file is then as it was.
    pub fn keep_under(&mut self, key: &IdentityKey, own: &OwnKeys) -> Result<(), IdentityError> {
        let kept = Kept::of(key, own)?;
        let mut next = self.clone();
        (next.stored.identity_key, next.stored.sealing_key) = (kept.identity_key, kept.sealing_key);
        next.write()?;
        *self = next;
        Ok(())
    }

    fn write(&self) -> Result<(), IdentityError> {
        let text = serde_json::to_vec_pretty(&self.stored).map_err(|error| self.damaged(&error.to_string()))?;
        storage::directory::replace_file(&self.path, &text).map_err(IdentityError::Unwritable)
    }

    fn damaged(&self, why: &str) -> IdentityError {
        IdentityError::Damaged { path: self.path.clone(), why: why.to_owned() }
    }
}

/// Both private keys as they are stored.
struct Kept {
    identity_key: Bytes,
    sealing_key: Bytes,
}

impl Kept {
    fn of(key: &IdentityKey, own: &OwnKeys) -> Result<Self, SealError> {
        let owner = key.fingerprint().to_string();
        Ok(Self {
            identity_key: Bytes(own.seal.keep(IDENTITY_KEY, &owner, key.pkcs8())?),
            sealing_key: Bytes(own.seal.keep(SEALING_KEY, &owner, own.sealing.to_bytes().as_slice())?),
        })
    }
}

/// The private halves. They never leave the server.
#[derive(Debug)]
pub struct Private {
    /// Proves who it is.
    pub identity: IdentityKey,
    /// Open what is meant for it alone.
    pub own: OwnKeys,
}

impl Private {
    fn generate(seal_key: SealKey) -> Result<Self, IdentityError> {
        let sealing = muster_trust::sealing::SealingPrivateKey::generate()
            .map_err(|_| IdentityError::Keep(SealError::Randomness))?;
        Ok(Self { identity: IdentityKey::generate()?, own: OwnKeys { seal: seal_key, before: None, sealing } })
    }
}

/// Why the identity of a server can't be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what this server wrote.
    #[error("{} is damaged: {why}; a server that lost its identity is removed (`muster server remove`) and joins anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The disk refused.
    #[error(transparent)]
    Unwritable(storage::Error),
    /// The seal key does not open it.
    #[error(transparent)]
    Seal(#[from] UnwrapError),
    /// It could not be sealed.
    #[error(transparent)]
    Keep(#[from] SealError),
    /// No key could be made.
    #[error(transparent)]
    Key(#[from] PkiError),
}

#[cfg(test)]
mod tests;
