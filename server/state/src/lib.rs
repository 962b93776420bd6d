//! The replicated truth of Muster: what every server knows, and the only ways in which it changes.
//!
//! Equal history gives equal bytes. There is no clock, no randomness and no I/O here (`Cargo.toml` makes them
//! impossible): time and ids are stamped by whoever proposes a command. A refusal is a reply, not an error.
//!
//! `clippy.toml` here forbids what would differ between replicas.
//!
//! Reading order: [`State`] and its `apply`, then [`command`] (one verb per file), then [`record`].

#![deny(clippy::disallowed_types, clippy::disallowed_methods, reason = "see clippy.toml")]
#![deny(clippy::wildcard_enum_match_arm, reason = "a new variant must be thought about everywhere")]

pub mod bytes;
pub mod command;
pub mod csr;
pub mod etcd;
pub mod facts;
pub mod failure;
pub mod id;
mod index;
mod join_window;
pub mod limits;
pub mod phase;
pub mod planted;
pub mod record;
mod refound;
pub mod refusal;
mod renewal;
mod secrets;
mod servers;
mod snapshot;
mod state;
mod trace;
mod whereabouts;

pub use bytes::{Bytes, Digest, Sealed};
pub use command::{Command, Reply, Request, Verb, VerbOf};
pub use id::{ClusterId, FleetId, NodeId, NodeName, TokenId};
pub use phase::Phase;
pub use refound::{RefoundError, Refounding};
pub use refusal::Refusal;
pub use secrets::SecretName;
pub use snapshot::SnapshotError;
pub use state::{Applied, Change, Stamp, State};
