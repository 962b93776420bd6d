//! What both ends of a Muster connection must agree on and no `.proto` can say.
//!
//! A machine knows one thing about its fleet before it trusts anything: the [`Pin`] of the fleet root. From that follow
//! who a server is ([`ServerVerifier`]), who a caller is ([`RoleVerifier`], [`Peer`]), how a machine proves that it holds
//! the key it enrols with ([`statement`]), and how a secret is sealed to one machine ([`sealing`]).
//!
//! Deliberately absent: sockets, tasks, clocks and storage. Callers bring bytes and time.

mod config;
mod identity;
mod peer;
mod pin;
pub mod sealing;
mod spiffe;
pub mod statement;
mod verify;
mod x509;

pub use config::{
    ALPN_H2, ALPN_HTTP1, client_config, client_config_with, https_config, provider, server_config, server_config_with,
};
pub use identity::{IdentityCell, IdentityError, TlsIdentity};
pub use peer::{Fingerprint, Peer};
pub use pin::{Pin, PinError};
pub use spiffe::{Role, SpiffeError, SpiffeId};
pub use verify::{Anchor, RoleVerifier, ServerVerifier, VerifyError};
pub use x509::NotACertificate;

#[cfg(test)]
mod testing;
