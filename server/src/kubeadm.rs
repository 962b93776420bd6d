//! What stock kubeadm reads and writes, as pure functions: no I/O, no clock (time is passed in), and randomness
//! only in functions called `generate…`. What can be known to be wrong before kubeadm runs is refused here, with the
//! path and the reason, so that no machine boots into a configuration that cannot work.
//!
//! In reading order: the small values (`token`, `group`, `certificate_key`, `pin`, `endpoint`, `version`, `labels`), the objects
//! made of them (`token_secret`, `certs_secret`, `discovery`, `jws`, `rbac`, `link_rbac`), the configuration files (`config`, and
//! `cluster_configuration` for what a cluster has of its own), and
//! the plain line for machines without an agent (`join_command`).
//!
//! Deliberately absent: running kubeadm (the agent does that), and talking to an API server.

pub mod certificate_key;
pub mod certs_secret;
pub mod cluster_configuration;
pub mod config;
pub mod discovery;
pub mod endpoint;
pub mod group;
pub mod join_command;
pub mod jws;
pub mod labels;
pub mod link_rbac;
pub mod pin;
pub mod rbac;
pub mod redacted;
pub mod token;
pub mod token_secret;
pub mod version;

#[cfg(test)]
mod vectors;
