//! Who may be at the other end: [`ServerVerifier`] for callers, [`RoleVerifier`] for listeners.

mod anchor;
mod chain;
mod error;
mod role;
mod server;

pub use anchor::Anchor;
pub use error::VerifyError;
pub use role::RoleVerifier;
pub use server::ServerVerifier;

#[cfg(test)]
mod tests;
