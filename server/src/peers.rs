//! Servers among themselves, on 9446: the wire of [`crate::consensus`], and what a relay asks of a voter.
//!
//! ```text
//! consensus ──> client ──> line ──> dial ══ TLS ══> listener ──> service ──> consensus
//!                                                                   └──────> voter
//! ```
//!
//! Reading order: [`wire`] (conversions, here and nowhere else in the room), [`client`] (calls; a `line` is one connection, `dial`
//! makes it), [`service`] (is called), [`greet`] (what a server says when it starts), [`gate`] (shut until then), [`verbs`] (what a
//! relay may have the leader do), [`relay`] (what it may ask a voter for), [`leader`] (what anybody asks of the leader for an
//! operator), [`logs`] (lines that another server keeps), [`roster`] (who is who).
//!
//! Absent on purpose: decisions of Raft (`consensus`), keys and payloads (`operations`), sockets and TLS of the listener
//! (`api::listener`, put together in `app`).

pub mod client;
mod dial;
pub mod gate;
pub mod greet;
pub mod leader;
mod line;
pub mod logs;
pub mod relay;
pub mod roster;
pub mod service;
pub mod verbs;
pub mod wire;

pub use client::Client;
pub use dial::Credentials;
pub use gate::Gate;
// For those who call over the wire and do not enter consensus.
pub use crate::consensus::{Peer, ServerId, TransportError};

/// Bytes of one message, either way. What is larger travels in pieces.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of entries in one message beyond which they go in several: at 1 MiB one message delays the next heartbeat by a tenth of
/// a second on a line of 100 Mbit/s.
pub const APPEND_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of one piece of a snapshot.
pub const CHUNK_BYTES_MAX: usize = 512 * 1024;

#[cfg(test)]
mod tests;
