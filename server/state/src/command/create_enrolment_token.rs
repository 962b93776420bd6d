use serde::{Deserialize, Serialize};

use crate::{
    ClusterId, Digest, NodeName, Refusal, State, TokenId,
    facts::Selector,
    limits,
    record::EnrolmentToken,
    state::{Change, Context},
};

/// Registers an enrolment token by its hash. The token itself never leaves the operator's command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateEnrolmentToken {
    /// Public part.
    pub id: TokenId,
    /// SHA-256 of the whole token.
    pub sha256: Digest,
    /// The cluster it is for.
    pub cluster: ClusterId,
    /// The pool; may be empty where the node's name says it.
    pub pool: String,
    /// The one node it admits.
    pub node_name: Option<NodeName>,
    /// Machines it is for.
    pub selector: Selector,
    /// Lifetime, milliseconds.
    pub ttl_ms: u64,
    /// How often it may be used; a bound token once.
    pub uses: u32,
}

impl CreateEnrolmentToken {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        let cluster = state.cluster(&self.cluster)?;
        let named = self.node_name.as_ref().and_then(|name| cluster.spec.named_node(name));
        let pool = match (&self.pool, named) {
            (pool, Some((of_name, _))) if pool.is_empty() || *pool == of_name.name => of_name.name.clone(),
            (pool, Some((of_name, node))) => {
                let problem = format!("node {} is listed in pool {:?}, not in {pool:?}", node.name, of_name.name);
                return Err(Refusal::invalid("pool", problem));
            }
            (pool, None) if pool.is_empty() && cluster.spec.pools.len() == 1 => cluster.spec.pools[0].name.clone(),
            (pool, None) if pool.is_empty() => return Err(Refusal::invalid("pool", "is needed: the cluster has several")),
            (pool, None) => pool.clone(),
        };
        if cluster.spec.pool(&pool).is_none() {
            return Err(Refusal::not_found("pool", pool));
        }
        if self.uses == 0 || (self.node_name.is_some() && self.uses != 1) {
            return Err(Refusal::invalid("uses", "must be at least 1, and 1 for a token bound to a node"));
        }
        if self.uses > limits::TOKEN_USES_MAX {
            return Err(Refusal::invalid("uses", format!("must be at most {}", limits::TOKEN_USES_MAX)));
        }
        // One name space: `muster token revoke` takes any kind.
        if state.is_token_id_taken(&self.id) {
            return Err(Refusal::Exists { kind: "token".into(), name: self.id.to_string() });
        }
        if state.enrolment_tokens.len() >= limits::ENROLMENT_TOKENS_MAX {
            return Err(Refusal::Full { what: "enrolment tokens".into(), limit: limits::ENROLMENT_TOKENS_MAX as u64 });
        }
        let whom = self.node_name.as_ref().map_or_else(|| format!("pool {pool}"), |name| format!("node {name}"));
        state.event(false, "TokenCreated", format!("enrolment token {} for {whom}", self.id), Some(self.cluster.clone()), None);
        let token = EnrolmentToken {
            id: self.id.clone(),
            sha256: self.sha256,
            cluster: self.cluster,
            pool,
            node_name: self.node_name,
            selector: self.selector,
            created_ms: context.now_ms,
            expires_ms: context.now_ms.saturating_add(self.ttl_ms),
            uses: self.uses,
            used_by: Vec::new(),
            revoked_ms: None,
            misuses: 0,
        };
        state.enrolment_tokens.insert(self.id, token);
        state.changes.push(Change::Other);
        Ok(())
    }
}
