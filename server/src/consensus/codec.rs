//! The frozen bytes of what consensus stores, and the only place that converts.
//!
//! Format 1 (2026-11, first release):
//!
//! ```text
//! entry    = format:u8 kind:u8 term:u64be body      the index is the storage record's
//!   kind 0 = blank, no body
//!   kind 1 = batch,      {"now_ms":1,"commands":[…]}
//!   kind 2 = membership, {"configs":[[1]],"peers":{"1":{"address":"…"}}}
//! vote     = {"format":1,"term":3,"server":1,"committed":true}
//! log id   = {"format":1,"term":3,"index":9}
//! snapshot's meta = {"format":1,"last":{…},"membership_at":{…},"configs":[[1]],"peers":{…}}
//! ```
//!
//! A record of a later format, of an unknown kind or with an unknown command stops the server: to skip it would let this
//! replica's state drift from the others'.

mod parcel;

use std::collections::{BTreeMap, BTreeSet};

use muster_state::Stamp;
use openraft::{CommittedLeaderId, EntryPayload};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::types::{Batch, Entry, LogId, Membership, Peer, SnapshotMeta, StoredMembership, Vote};

pub use parcel::{parse_parcel, render_parcel};

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

/// A command whose JSON was rendered when it was proposed, so that its size is known and nothing is rendered twice.
pub struct Rendered<M: Machine> {
    command: M::Command,
    json: String,
}

impl<M: Machine> Rendered<M> {
    /// Renders the command.
    ///
    /// # Errors
    /// [`Error::Form`] for a command that has no JSON, such as a map with keys that are no strings.
    pub fn new(command: M::Command) -> Result<Self, Error> {
        let json = serde_json::to_string(&command).map_err(|error| Error::form("a command", place(&error)))?;
        Ok(Self { command, json })
    }

    fn parse(json: &[u8]) -> Result<Self, Error> {
        let json = std::str::from_utf8(json).map_err(|_| Error::form("a command", "not UTF-8"))?;
        let command = from_json("a command", json.as_bytes())?;
        Ok(Self { command, json: json.to_owned() })
    }

    /// The command.
    #[must_use]
    pub fn command(&self) -> &M::Command {
        &self.command
    }

    /// Bytes it will add to a batch.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.json.len() + 1
    }
}

/// Bytes of an entry beside its commands, at most: its head, the stamp, brackets.
pub const BATCH_OVERHEAD_BYTES: usize = 128;

/// Puts commands into one batch.
#[must_use]
pub fn batch<M: Machine>(stamp: Stamp, rendered: Vec<Rendered<M>>) -> Batch<M> {
    let json = batch_json(stamp, rendered.iter().map(|one| one.json.as_str()));
    Batch::from_parts(stamp, rendered.into_iter().map(|one| one.command).collect(), json)
}

/// The JSON of a batch of commands that are JSON already.
fn batch_json<'a>(stamp: Stamp, commands: impl Iterator<Item = &'a str>) -> String {
    let commands: Vec<&str> = commands.collect();
    format!("{{\"now_ms\":{},\"commands\":[{}]}}", stamp.now_ms, commands.join(","))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchForm<C> {
    now_ms: u64,
    commands: Vec<C>,
}

/// Reads a batch.
///
/// # Errors
/// [`Error::Form`], also for a command this program does not know.
pub fn parse_batch<M: Machine>(json: &str) -> Result<Batch<M>, Error> {
    let form: BatchForm<M::Command> = from_json("a batch of commands", json.as_bytes())?;
    let stamp = Stamp { now_ms: form.now_ms };
    Ok(Batch::from_parts(stamp, form.commands, json.to_owned()))
}

/// The payload of the storage record for an entry.
#[must_use]
pub fn render_entry<M: Machine>(entry: &Entry<M>) -> Vec<u8> {
    let (kind, body) = match &entry.payload {
        EntryPayload::Blank => (BLANK, Vec::new()),
        EntryPayload::Normal(batch) => (BATCH, batch.json().as_bytes().to_vec()),
        EntryPayload::Membership(membership) => (MEMBERSHIP, to_json(&MembershipForm::new(membership))),
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
    to_json(&PositionForm { format: FORMAT, term: id.leader_id.term, index: id.index })
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

fn to_json(form: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(form)
        .expect("these forms have string keys and no maps of other kinds, so they always have a JSON")
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
