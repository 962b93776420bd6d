//! A bootstrap token as the Secret that makes it known to its cluster.

use anyhow::Context as _;
use jiff::Timestamp;
use muster_state::record::{BootstrapToken, ClusterSpec, Purpose, Role};

use super::{Unsealed, payload::open_token};
use crate::kubeadm::{
    group::{self, BootstrapGroup},
    redacted::SecretManifest,
    token,
    token_secret::{TokenSecret, Usages},
};

/// A token for its cluster.
pub struct TokenObject {
    /// Its Secret.
    pub secret: SecretManifest,
    /// The token that is in it.
    pub token: token::BootstrapToken,
    /// `cluster-info` is discovered with it: it is of no use before it is signed there.
    pub signing: bool,
}

/// The Secret, and the token that is in it.
///
/// # Errors
/// If this server has no keys, or what is stored is damaged.
pub fn render(server: &Unsealed, spec: &ClusterSpec, record: &BootstrapToken) -> anyhow::Result<TokenObject> {
    let token = open_token(server, record)?;
    let (usages, description) = match &record.purpose {
        Purpose::Node(node) => (node_usages(server, spec, node), format!("Muster: join of node {node}")),
        Purpose::JoinCommand(_) => (Usages::BOTH, "Muster: join-command".to_owned()),
        Purpose::NamedJoinCommand(_, name) => (Usages::BOTH, format!("Muster: join-command for {name}")),
        // Nothing is discovered with it, so it need not be able to forge a signature.
        Purpose::FileJoinCommand(_, name) => {
            let name = name.as_ref().map(|name| format!(" for {name}")).unwrap_or_default();
            (Usages::AUTHENTICATION, format!("Muster: join-command by file{name}"))
        }
    };
    let expires = i64::try_from(record.written_end_ms()).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let secret = TokenSecret {
        usages,
        groups: vec![BootstrapGroup::of_muster(&spec.name, token_role(server, record))?],
        expires: Some(expires.context("an expiry out of range")?),
        description: Some(description),
    };
    Ok(TokenObject { secret: secret.manifest(&token)?, token, signing: usages.signing })
}

fn token_role(server: &Unsealed, record: &BootstrapToken) -> group::Role {
    let role = match &record.purpose {
        Purpose::JoinCommand(role) | Purpose::NamedJoinCommand(role, _) | Purpose::FileJoinCommand(role, _) => {
            Some(*role)
        }
        Purpose::Node(node) => server.ledger.read(|state| state.nodes.get(node)?.placement().map(|place| place.role)),
    };
    match role {
        Some(Role::ControlPlane) => group::Role::ControlPlane,
        Some(Role::Worker) | None => group::Role::Worker,
    }
}

/// A node that discovers by token needs its token signed; all others get one that can't forge a signature.
fn node_usages(server: &Unsealed, spec: &ClusterSpec, node: &muster_state::NodeId) -> Usages {
    let by_token = server.ledger.read(|state| {
        let place = state.nodes.get(node)?.placement()?;
        Some(spec.pool(&place.pool)?.discovery != "file")
    });
    if by_token == Some(true) { Usages::BOTH } else { Usages::AUTHENTICATION }
}
