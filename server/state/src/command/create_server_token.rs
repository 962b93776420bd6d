use serde::{Deserialize, Serialize};

use crate::{
    Digest, Refusal, State, TokenId, limits,
    record::ServerToken,
    state::{Change, Context},
};

/// Registers a token with which one server may ask to join, by its hash. The token itself never leaves the operator's
/// command line. It admits nobody: an operator approves the server after that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateServerToken {
    /// Public part.
    pub id: TokenId,
    /// SHA-256 of the whole token.
    pub sha256: Digest,
    /// Lifetime, milliseconds.
    pub ttl_ms: u64,
}

impl CreateServerToken {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        if self.ttl_ms == 0 {
            return Err(Refusal::invalid("ttl", "must be longer than nothing"));
        }
        // One name space: `muster token revoke` takes any kind.
        if state.is_token_id_taken(&self.id) {
            return Err(Refusal::Exists { kind: "token".into(), name: self.id.to_string() });
        }
        if state.server_tokens.len() >= limits::SERVER_TOKENS_MAX {
            return Err(Refusal::Full { what: "server tokens".into(), limit: limits::SERVER_TOKENS_MAX as u64 });
        }
        let token = ServerToken {
            id: self.id.clone(),
            sha256: self.sha256,
            created_ms: context.now_ms,
            expires_ms: context.now_ms.saturating_add(self.ttl_ms),
            used_by: None,
            misuses: 0,
        };
        state.event(false, "ServerTokenCreated", format!("token {} for one server", self.id), None, None);
        state.server_tokens.insert(self.id, token);
        state.changes.push(Change::Other);
        Ok(())
    }
}
