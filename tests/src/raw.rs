//! Clients without any program of ours in between: what a thief, a clone or a broken agent could send.
//!
//! [`Applicant`] enrols step by step, [`Certified`] holds a certificate, [`Attached`] is a node's stream, and [`call`] sends
//! an empty message to any RPC of any listener.

mod applicant;
mod attached;
mod call;
mod certified;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use muster_agent::client::connect_server;
use muster_trust::{Anchor, TlsIdentity, client_config};
use tonic::transport::Channel;

use crate::{SOON, Server};

pub use applicant::{Answer, Applicant, Conversation};
pub use attached::{Attached, words_of};
pub use call::{Outcome, call, rpcs};
pub use certified::{Certified, operator};

/// A listener of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// 9443.
    Enrolment,
    /// 9444.
    Nodes,
    /// 9445.
    Operators,
}

impl Listener {
    /// All of them.
    pub const ALL: [Listener; 3] = [Listener::Enrolment, Listener::Nodes, Listener::Operators];

    /// Its port.
    pub const fn port(self) -> u16 {
        match self {
            Listener::Enrolment => 9443,
            Listener::Nodes => 9444,
            Listener::Operators => 9445,
        }
    }
}

/// Waits for an answer of a server, but not for ever: a test that hangs tells nothing.
async fn soon<T>(what: &str, answer: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(SOON, answer).await.with_context(|| format!("{what}: no answer within {SOON:?}"))
}

/// A connection to a listener, with this identity or none. The server is checked as any client checks it.
///
/// # Errors
/// If the server can't be reached, or does not let the identity in at once.
pub async fn connect(server: &Server, listener: Listener, identity: Option<TlsIdentity>) -> Result<Channel> {
    let pin = operator_pin(server)?;
    let config = client_config(Anchor::Pin(pin), None, identity)?;
    let url = format!("{}:{}", server.address(), listener.port()).parse()?;
    Ok(soon("a connection", connect_server(&url, Arc::new(config))).await??)
}

/// The pin of the fleet root as the operator's context has it, so that no call is needed to know it.
fn operator_pin(server: &Server) -> Result<muster_trust::Pin> {
    let text = std::fs::read_to_string(server.operator_config())?;
    let config: toml::Value = toml::from_str(&text)?;
    let pin = config["contexts"]["local"]["ca_hash"].as_str().context("no pin in the operator's context")?;
    Ok(pin.parse()?)
}
