//! The frozen bytes of what consensus stores, and the only place that converts.
//!
//! Format 1 (2026-11, first release):
//!
//! ```text
//! entry    = format:u8 kind:u8 term:u64be body      the index is the storage record's
//!   kind 0 = blank, no body
//!   kind 1 = batch,      {"now_ms":1,"commands":[…],"parcels":[{"server":1,"generation":2,"sequence":3,"floor":3,"commands":1}]}
//!   kind 2 = membership, {"configs":[[1]],"peers":{"1":{"address":"…"}}}
//! vote     = {"format":1,"term":3,"server":1,"committed":true}
//! log id   = {"format":1,"term":3,"index":9}
//! snapshot's meta = {"format":1,"last":{…},"membership_at":{…},"configs":[[1]],"peers":{…}}
//! ```
//!
//! A batch's commands belong to its parcels in order, by number; `"fence":5` in a parcel names the only term it may be carried out
//! in. A batch without `parcels` was written when a group had one server: all of it is carried out. What a snapshot's state looks
//! like is said in [`snapshot`].
//!
//! A record of a later format, of an unknown kind or with an unknown command stops the server: to skip it would let this
//! replica's state drift from the others'.

mod batch;
mod parcel;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet};

use openraft::{CommittedLeaderId, EntryPayload};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::types::{Entry, LogId, Membership, Peer, SnapshotMeta, StoredMembership, Vote};

pub use batch::{Rendered, batch, pack, parse_batch};
pub use parcel::{parse_parcel, render_parcel};
pub(super) use snapshot::{parse_state, render_state};

/// The number of the format described in the header of this file.
pub const FORMAT: u8 = 1;

const BLANK: u8 = 0;
const BATCH: u8 = 1;
const MEMBERSHIP: u8 = 2;
const ENTRY_HEAD_BYTES: usize = 1 + 1 + 8;

/// Stored bytes that this program does not understand. Never quotes them: they may be secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A later version of this program wrote them.
    #[error("{what} has format {found}, this program knows {FORMAT}: was the server downgraded?")]
    Format {
        /// Which record.
        what: &'static str,
        /// The number found.
        found: u64,
    },
    /// They have no known form.
    #[error("{what} cannot be read: {detail}")]
    Form {
        /// Which record.
        what: &'static str,
        /// Where it went wrong.
        detail: String,
    },
}

impl Error {
    pub(super) fn form(what: &'static str, detail: impl Into<String>) -> Self {
        Self::Form { what, detail: detail.into() }
    }
}

/// Bytes of an entry beside its commands, at most, if it has one parcel: its head, the stamp, the heading.
pub const BATCH_OVERHEAD_BYTES: usize = 384;

/// The payload of the storage record for an entry.
#[must_use]
pub fn render_entry<M: Machine>(entry: &Entry<M>) -> Vec<u8> {
    let (kind, body) = match &entry.payload {
        EntryPayload::Blank => (BLANK, Vec::new()),
        EntryPayload::Normal(batch) => (BATCH, batch.json().as_bytes().to_vec()),
        EntryPayload::Membership(membership) => (MEMBERSHIP, to_json(&MembershipForm::new(membership)).into_bytes()),
    };
    let mut bytes = Vec::with_capacity(ENTRY_HEAD_BYTES + body.len());
    bytes.extend_from_slice(&[FORMAT, kind]);
    bytes.extend_from_slice(&entry.log_id.leader_id.term.to_be_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

/// The size of what [`render_entry`] makes; an estimate for memberships, which are small.
#[must_use]
pub fn entry_bytes<M: Machine>(entry: &Entry<M>) -> usize {
    ENTRY_HEAD_BYTES
        + match &entry.payload {
            EntryPayload::Blank => 0,
            EntryPayload::Normal(batch) => batch.json().len(),
            EntryPayload::Membership(_) => BATCH_OVERHEAD_BYTES,
        }
}

/// The entry that a storage record at `index` carries.
///
/// # Errors
/// [`Error`].
pub fn parse_entry<M: Machine>(index: u64, bytes: &[u8]) -> Result<Entry<M>, Error> {
    let what = "a log entry";
    let (head, body) = bytes.split_at_checked(ENTRY_HEAD_BYTES).ok_or_else(|| Error::form(what, "too short"))?;
    if head[0] != FORMAT {
        return Err(Error::Format { what, found: head[0].into() });
    }
    let term = head[2..].first_chunk::<8>().map_or(0, |term| u64::from_be_bytes(*term));
    let payload = match head[1] {
        BLANK if body.is_empty() => EntryPayload::Blank,
        BATCH => {
            let json = std::str::from_utf8(body).map_err(|_| Error::form(what, "not UTF-8"))?;
            EntryPayload::Normal(parse_batch(json)?)
        }
        MEMBERSHIP => EntryPayload::Membership(from_json::<MembershipForm>("a membership", body)?.membership()),
        kind => return Err(Error::form(what, format!("unknown kind {kind}"))),
    };
    Ok(Entry { log_id: log_id(term, index), payload })
}

/// Renders a vote.
#[must_use]
pub fn render_vote(vote: &Vote) -> Vec<u8> {
    to_json(&VoteForm {
        format: FORMAT,
        term: vote.leader_id.term,
        server: vote.leader_id.voted_for,
        committed: vote.committed,
    })
    .into_bytes()
}

/// Reads a vote.
///
/// # Errors
/// [`Error`].
pub fn parse_vote(bytes: &[u8]) -> Result<Vote, Error> {
    let form: VoteForm = from_formatted("the vote", bytes)?;
    let leader_id = openraft::LeaderId { term: form.term, voted_for: form.server };
    Ok(Vote { leader_id, committed: form.committed })
}

/// Renders a log id.
#[must_use]
pub fn render_log_id(id: &LogId) -> Vec<u8> {
    to_json(&PositionForm { format: FORMAT, term: id.leader_id.term, index: id.index }).into_bytes()
}

/// Reads a log id.
///
/// # Errors
/// [`Error`].
pub fn parse_log_id(bytes: &[u8]) -> Result<LogId, Error> {
    from_formatted("a log position", bytes).map(|form: PositionForm| log_id(form.term, form.index))
}

/// Renders what must be known of a snapshot beside its state.
#[must_use]
pub fn render_meta(meta: &SnapshotMeta) -> Vec<u8> {
    let MembershipForm { configs, peers } = MembershipForm::new(meta.last_membership.membership());
    to_json(&MetaForm {
        format: FORMAT,
        last: meta.last_log_id.as_ref().map(LogIdForm::new),
        membership_at: meta.last_membership.log_id().as_ref().map(LogIdForm::new),
        configs,
        peers,
    })
    .into_bytes()
}

/// Reads what [`render_meta`] made.
///
/// # Errors
/// [`Error`].
pub fn parse_meta(bytes: &[u8]) -> Result<SnapshotMeta, Error> {
    let form: MetaForm = from_formatted("a snapshot's description", bytes)?;
    let membership_at = form.membership_at.map(|id| id.log_id());
    let membership = MembershipForm { configs: form.configs, peers: form.peers }.membership();
    let membership = StoredMembership::new(membership_at, membership);
    Ok(snapshot_meta(form.last.map(|id| id.log_id()), membership))
}

/// Names a snapshot after the last entry in it: equal history makes equal bytes, so equal names mean equal snapshots.
#[must_use]
pub fn snapshot_meta(last_log_id: Option<LogId>, last_membership: StoredMembership) -> SnapshotMeta {
    let (term, index) = last_log_id.map_or((0, 0), |id| (id.leader_id.term, id.index));
    SnapshotMeta { last_log_id, last_membership, snapshot_id: format!("{term}-{index}") }
}

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term, 0), index)
}

#[derive(Serialize, Deserialize)]
struct VoteForm {
    format: u8,
    term: u64,
    server: Option<u64>,
    committed: bool,
}

#[derive(Serialize, Deserialize)]
struct PositionForm {
    format: u8,
    term: u64,
    index: u64,
}

#[derive(Serialize, Deserialize)]
struct LogIdForm {
    term: u64,
    index: u64,
}

impl LogIdForm {
    fn new(id: &LogId) -> Self {
        Self { term: id.leader_id.term, index: id.index }
    }

    fn log_id(&self) -> LogId {
        log_id(self.term, self.index)
    }
}

#[derive(Serialize, Deserialize)]
struct MembershipForm {
    configs: Vec<BTreeSet<u64>>,
    peers: BTreeMap<u64, Peer>,
}

impl MembershipForm {
    fn new(membership: &Membership) -> Self {
        let peers = membership.nodes().map(|(id, peer)| (*id, peer.clone())).collect();
        Self { configs: membership.get_joint_config().clone(), peers }
    }

    fn membership(self) -> Membership {
        Membership::new(self.configs, self.peers)
    }
}

#[derive(Serialize, Deserialize)]
struct MetaForm {
    format: u8,
    last: Option<LogIdForm>,
    membership_at: Option<LogIdForm>,
    configs: Vec<BTreeSet<u64>>,
    peers: BTreeMap<u64, Peer>,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u64,
}

fn to_json(form: &impl Serialize) -> String {
    serde_json::to_string(form).expect("these forms have keys that are strings or numbers, so they always have a JSON")
}

fn from_json<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::form(what, place(&error)))
}

fn from_formatted<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, Error> {
    let found = from_json::<FormatOnly>(what, bytes)?.format;
    if found != u64::from(FORMAT) {
        return Err(Error::Format { what, found });
    }
    from_json(what, bytes)
}

/// Where JSON went wrong, without serde's message, which quotes the value.
fn place(error: &serde_json::Error) -> String {
    format!("{:?} error at line {} column {}", error.classify(), error.line(), error.column())
}

#[cfg(test)]
mod tests;
