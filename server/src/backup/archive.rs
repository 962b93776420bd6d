//! What a voter seals to an operator's key, and how it is opened.
//!
//! Format 1 (2026-11):
//!
//! ```text
//! header = {"format":1,"fleet":"…","made_ms":1,"index":9,"version":"0.1.0","enc":"…","content_key":"…"}
//! chunk  = is-last:u8 ciphertext tag
//! all chunks' plaintext = count:u32be (epoch:u32be key:32)… state
//! ```
//!
//! A random content key, sealed to the operator's public key (`muster-trust`'s HPKE), encrypts the chunks with AES-256-GCM.
//! It is used for this archive only, so a nonce may count. The associated data of a chunk names the header, the chunk's
//! number and whether it is the last: none can be left out, moved, taken from elsewhere or cut off without being noticed.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use muster_state::State;
use muster_trust::sealing::{self, SealedToNode, SealingPrivateKey, SealingPublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::BackupError;
use crate::seal::{AssociatedData, DataKey};

const FORMAT: u32 = 1;
const DOMAIN: &str = "muster/backup/v1";
const CHUNK_DOMAIN: &str = "muster/backup-chunk/v1";
const KEY_BYTES: usize = 32;
/// Plaintext of one chunk: small enough to be a message, large enough that tags cost nothing.
const CHUNK_BYTES: usize = 64 * 1024;
/// Longest sealed chunk: the mark, the ciphertext, the tag.
pub const SEALED_CHUNK_BYTES_MAX: usize = 1 + CHUNK_BYTES + 16;
/// Longest header: a few short fields.
pub const HEADER_BYTES_MAX: usize = 4096;
/// Longest archive, like a snapshot's bound.
pub const ARCHIVE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// What may be known of a backup without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The fleet it is of.
    pub fleet: String,
    /// When it was made, by the fleet's own time, milliseconds since the Unix epoch.
    pub made_ms: u64,
    /// The last log entry in it.
    pub index: u64,
    /// Version of the server that made it.
    pub version: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderForm {
    format: u32,
    fleet: String,
    made_ms: u64,
    index: u64,
    version: String,
    enc: String,
    content_key: String,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

impl Head {
    fn context(&self) -> Vec<u8> {
        AssociatedData::new(DOMAIN)
            .text(&self.fleet)
            .bytes(&self.made_ms.to_be_bytes())
            .bytes(&self.index.to_be_bytes())
            .text(&self.version)
            .into_bytes()
    }

    /// Reads a header, which tells nothing about the key that it needs.
    ///
    /// # Errors
    /// [`BackupError::Format`], [`BackupError::NotABackup`].
    pub fn of_header(header: &[u8]) -> Result<Self, BackupError> {
        parse_header(header).map(|(head, _)| head)
    }
}

fn parse_header(header: &[u8]) -> Result<(Head, SealedToNode), BackupError> {
    let none = |_| BackupError::NotABackup;
    let FormatOnly { format } = serde_json::from_slice(header).map_err(none)?;
    if format != FORMAT {
        return Err(BackupError::Format { found: format });
    }
    let form: HeaderForm = serde_json::from_slice(header).map_err(none)?;
    let decode = |text: &str| STANDARD.decode(text).map_err(|_| BackupError::NotABackup);
    let sealed = SealedToNode { enc: decode(&form.enc)?, ciphertext: decode(&form.content_key)? };
    let head = Head { fleet: form.fleet, made_ms: form.made_ms, index: form.index, version: form.version };
    Ok((head, sealed))
}

/// The key of one archive.
struct ContentKey {
    key: LessSafeKey,
    header: [u8; 32],
}

impl ContentKey {
    fn new(bytes: &[u8], header: &[u8]) -> Result<Self, BackupError> {
        let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| BackupError::Seal)?;
        Ok(Self { key: LessSafeKey::new(key), header: Sha256::digest(header).into() })
    }

    fn nonce(number: u64) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&number.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    fn aad(&self, number: u64, is_last: u8) -> Aad<Vec<u8>> {
        let aad = AssociatedData::new(CHUNK_DOMAIN).bytes(&self.header).bytes(&number.to_be_bytes());
        Aad::from(aad.bytes(&[is_last]).into_bytes())
    }
}

/// An archive being sealed: its header, then its chunks in order.
pub struct Archive {
    header: Vec<u8>,
    key: ContentKey,
    plain: Zeroizing<Vec<u8>>,
    /// Bytes of `plain` that are sealed.
    sealed: usize,
    next: u64,
    is_complete: bool,
}

impl Archive {
    /// Seals `state` (a snapshot) and the data keys of its secrets to `public`. Nothing is encrypted before it is asked for.
    ///
    /// # Errors
    /// [`BackupError::Seal`] if the public key is not usable, [`BackupError::TooLarge`].
    pub fn new<'a>(
        public: &SealingPublicKey,
        head: &Head,
        keys: impl IntoIterator<Item = &'a DataKey>,
        state: &[u8],
    ) -> Result<Self, BackupError> {
        let plain = plaintext(keys, state)?;
        let mut content_key = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(content_key.as_mut_slice()).map_err(|_| BackupError::Seal)?;
        let to = sealing::seal_to(public, &head.context(), content_key.as_slice()).map_err(|_| BackupError::Seal)?;
        let form = HeaderForm {
            format: FORMAT,
            fleet: head.fleet.clone(),
            made_ms: head.made_ms,
            index: head.index,
            version: head.version.clone(),
            enc: STANDARD.encode(to.enc),
            content_key: STANDARD.encode(to.ciphertext),
        };
        let header = serde_json::to_vec(&form).map_err(|error| BackupError::Contents(error.to_string()))?;
        let key = ContentKey::new(content_key.as_slice(), &header)?;
        Ok(Self { header, key, plain, sealed: 0, next: 0, is_complete: false })
    }

    /// Comes before the chunks. Nothing in it is secret.
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    fn seal_next(&mut self) -> Result<Vec<u8>, BackupError> {
        let end = (self.sealed + CHUNK_BYTES).min(self.plain.len());
        let is_last = u8::from(end == self.plain.len());
        let mut chunk = Zeroizing::new(Vec::with_capacity(SEALED_CHUNK_BYTES_MAX));
        chunk.extend_from_slice(&self.plain[self.sealed..end]);
        let (nonce, aad) = (ContentKey::nonce(self.next), self.key.aad(self.next, is_last));
        self.key.key.seal_in_place_append_tag(nonce, aad, &mut *chunk).map_err(|_| BackupError::Seal)?;
        self.sealed = end;
        self.next += 1;
        self.is_complete = is_last == 1;
        Ok([&[is_last], chunk.as_slice()].concat())
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive").field("bytes", &self.plain.len()).finish_non_exhaustive()
    }
}

impl Iterator for Archive {
    type Item = Result<Vec<u8>, BackupError>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.is_complete).then(|| self.seal_next())
    }
}

fn plaintext<'a>(keys: impl IntoIterator<Item = &'a DataKey>, state: &[u8]) -> Result<Zeroizing<Vec<u8>>, BackupError> {
    let keys: Vec<&DataKey> = keys.into_iter().collect();
    let bytes = 4 + keys.len() * (4 + KEY_BYTES) + state.len();
    if bytes as u64 > ARCHIVE_BYTES_MAX {
        return Err(BackupError::TooLarge { limit: ARCHIVE_BYTES_MAX });
    }
    // Room for all of it from the start: growing would leave copies behind.
    let mut plain = Zeroizing::new(Vec::with_capacity(bytes));
    // Fewer than the bytes, of which there are at most 2^30.
    plain.extend_from_slice(&u32::try_from(keys.len()).unwrap_or(u32::MAX).to_be_bytes());
    for key in keys {
        plain.extend_from_slice(&key.epoch().to_be_bytes());
        plain.extend_from_slice(key.expose());
    }
    plain.extend_from_slice(state);
    Ok(plain)
}

/// An archive being opened, chunk by chunk.
pub struct Opening {
    head: Head,
    key: ContentKey,
    next: u64,
    is_complete: bool,
}

impl Opening {
    /// Begins with the header.
    ///
    /// # Errors
    /// [`BackupError::Altered`] if it was not sealed to this key, and those of [`Head::of_header`].
    pub fn new(private: &SealingPrivateKey, header: &[u8]) -> Result<Self, BackupError> {
        let (head, sealed) = parse_header(header)?;
        let key = sealing::open(private, &head.context(), &sealed).map_err(|_| BackupError::Altered { part: 0 })?;
        let key = ContentKey::new(&key, header)?;
        Ok(Self { head, key, next: 0, is_complete: false })
    }

    /// What the header says.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The last chunk was opened: nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Opens the next chunk.
    ///
    /// # Errors
    /// [`BackupError::Altered`] unless it is the one that was sealed after those before it.
    pub fn open(&mut self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, BackupError> {
        let altered = BackupError::Altered { part: self.next };
        let Some((is_last, ciphertext)) = sealed.split_first().filter(|_| !self.is_complete) else {
            return Err(altered);
        };
        if sealed.len() > SEALED_CHUNK_BYTES_MAX || *is_last > 1 {
            return Err(altered);
        }
        let (nonce, aad) = (ContentKey::nonce(self.next), self.key.aad(self.next, *is_last));
        let mut chunk = Zeroizing::new(ciphertext.to_vec());
        let length = self.key.key.open_in_place(nonce, aad, &mut chunk).map_err(|_| altered)?.len();
        chunk.truncate(length);
        self.next += 1;
        self.is_complete = *is_last == 1;
        Ok(chunk)
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").field("head", &self.head).field("next", &self.next).finish_non_exhaustive()
    }
}

/// How much there is in a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Clusters.
    pub clusters: usize,
    /// Machines.
    pub nodes: usize,
    /// Sealed secrets.
    pub secrets: usize,
}

/// An opened backup.
#[derive(Debug)]
pub struct Contents {
    /// What its header says.
    pub head: Head,
    /// The fleet's data keys.
    pub keys: Vec<DataKey>,
    /// The fleet's state, its secrets sealed with those keys.
    pub state: State,
}

impl Contents {
    /// Takes all chunks' plaintext apart and holds the parts against each other.
    ///
    /// # Errors
    /// [`BackupError::Contents`].
    pub fn parse(head: Head, plain: &[u8]) -> Result<Self, BackupError> {
        let cut = || BackupError::Contents("its keys are cut off".to_owned());
        let (count, mut rest) = plain.split_first_chunk::<4>().ok_or_else(cut)?;
        let mut keys = Vec::new();
        for _ in 0..u32::from_be_bytes(*count) {
            let (epoch, after) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
            let (key, after) = after.split_at_checked(KEY_BYTES).ok_or_else(cut)?;
            keys.push(DataKey::from_bytes(u32::from_be_bytes(*epoch), key).ok_or_else(cut)?);
            rest = after;
        }
        let state = State::from_snapshot(rest).map_err(|error| BackupError::Contents(error.to_string()))?;
        let contents = Self { head, keys, state };
        contents.check().map(|()| contents)
    }

    /// How much there is of what people count.
    pub fn counts(&self) -> Counts {
        let State { clusters, nodes, .. } = &self.state;
        Counts { clusters: clusters.len(), nodes: nodes.len(), secrets: self.state.secrets().count() }
    }

    fn check(&self) -> Result<(), BackupError> {
        let wrong = |what: String| Err(BackupError::Contents(what));
        let Some(fleet) = self.state.fleet.as_ref().filter(|fleet| fleet.id.as_str() == self.head.fleet) else {
            return wrong("they are not of the fleet that the header names".into());
        };
        let has = |epoch: u32| self.keys.iter().any(|key| key.epoch() == epoch);
        if !has(fleet.epoch) {
            return wrong(format!("the key of epoch {} is missing", fleet.epoch));
        }
        match self.state.secrets().find(|(_, secret)| !has(secret.sealed.epoch)) {
            None => Ok(()),
            Some((name, secret)) => wrong(format!("{name}: the key of epoch {} is missing", secret.sealed.epoch)),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
