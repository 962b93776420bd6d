//! Servers among themselves, on 9446: the wire of [`crate::consensus`], and what a relay asks of a voter.
//!
//! Reading order: [`wire`] (conversions, here and nowhere else in the room), [`verbs`] (what a relay may have the leader do).
//!
//! Absent on purpose: decisions of Raft (`consensus`), keys and payloads (`operations`), sockets and TLS of the listener
//! (`api::listener`, put together in `app`).

pub mod verbs;
pub mod wire;
