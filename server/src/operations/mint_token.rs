//! Mints a bootstrap token: random and sealed here, recorded by the ledger.

use anyhow::anyhow;
use muster_state::{ClusterId, TokenId, command::MintBootstrapToken, record::Purpose};

use super::{OperationError, Unsealed, vault::Secret};
use crate::kubeadm::token::BootstrapToken;

/// Lifetime of a node's own token: the slowest join seen takes 23 minutes by kubeadm's own limits.
pub const NODE_TOKEN_TTL_MS: u64 = 60 * 60 * 1000;

/// Records a new token and replies with its public id.
pub async fn run(
    server: &Unsealed,
    cluster: &ClusterId,
    purpose: Purpose,
    ttl_ms: u64,
) -> Result<TokenId, OperationError> {
    let token = BootstrapToken::generate().map_err(|err| anyhow!(err))?;
    let id = TokenId(token.id().to_owned());
    let keys = server.keys()?;
    let secret = Secret::BootstrapToken(cluster, &id).seal(&keys.sealer, 1, token.expose_secret().as_bytes())?;
    let verb = MintBootstrapToken { id: id.clone(), cluster: cluster.clone(), purpose, secret, ttl_ms };
    server.ledger.propose(verb).await?;
    Ok(id)
}
