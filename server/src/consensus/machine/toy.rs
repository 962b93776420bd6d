//! A small machine for the tests of consensus: it numbers what it is told and remembers it.

use muster_state::Stamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Applied, Machine};
use crate::consensus::codec;
use crate::consensus::parcel::{Origin, Parcel};
use crate::consensus::types::Batch;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Toy {
    pub(crate) notes: Vec<Note>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) index: u64,
    pub(crate) now_ms: u64,
    pub(crate) text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Write {
    pub(crate) text: String,
}

impl Write {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }
}

/// A parcel of these notes.
pub(crate) fn mk_parcel(origin: Origin, texts: &[&str]) -> Parcel<Toy> {
    codec::pack(origin, texts.iter().map(|text| codec::Rendered::new(Write::new(*text)).unwrap()).collect())
}

/// A batch without parcels, as it was written when a group had one server: all of it is carried out.
pub(crate) fn mk_batch(now_ms: u64, texts: &[&str]) -> Batch<Toy> {
    let commands: Vec<Write> = texts.iter().map(|text| Write::new(*text)).collect();
    let commands = serde_json::to_string(&commands).unwrap();
    codec::parse_batch(&format!("{{\"now_ms\":{now_ms},\"commands\":{commands}}}")).unwrap()
}

impl Machine for Toy {
    type Command = Write;
    /// How many notes there are with this one.
    type Reply = u64;
    type Change = String;

    fn apply(&mut self, index: u64, stamp: Stamp, command: Write) -> Applied<u64, String> {
        self.notes.push(Note { index, now_ms: stamp.now_ms, text: command.text.clone() });
        Applied { reply: self.notes.len() as u64, changes: vec![command.text] }
    }

    fn latest(&self) -> Stamp {
        Stamp { now_ms: self.notes.iter().map(|note| note.now_ms).max().unwrap_or(0) }
    }

    fn trace(&self, changes: &[String], hash: &mut Sha256) {
        changes.iter().for_each(|text| hash.update(text));
    }

    fn sample(&self, _: u64, hash: &mut Sha256) {
        hash.update(serde_json::to_vec(self).unwrap());
    }

    fn to_snapshot(&self) -> Result<Vec<u8>, String> {
        serde_json::to_vec(self).map_err(|error| error.to_string())
    }

    fn from_snapshot(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }
}
