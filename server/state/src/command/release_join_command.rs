use serde::{Deserialize, Serialize};

use crate::{
    Refusal, State, TokenId,
    record::Role,
    state::Context,
};

/// Lets a join line with this token (and for control planes the certificate key) go to an operator. Only after this has
/// committed does a voter unseal; it is the audit record too. A discovery file that is fetched with such a token is recorded so as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseJoinCommand {
    /// Public id of the token.
    pub token: TokenId,
    /// What the line joins as.
    pub role: Role,
    /// SPIFFE id of the operator, or the address from which the file was fetched.
    pub caller: String,
}

impl ReleaseJoinCommand {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        let token = state.bootstrap_tokens.get(&self.token);
        let token = token.filter(|token| token.purpose.line_role() == Some(self.role) && token.is_live(context.now_ms));
        let Some(token) = token else { return Err(Refusal::not_found("live token for a join line", self.token)) };
        let cluster = token.cluster.clone();
        let name = token.purpose.line_name().map(|name| format!(" for node {name}")).unwrap_or_default();
        let text = format!("a join line ({}){name} with token {} goes to {}", self.role, self.token, self.caller);
        state.event(false, "SecretsReleased", text, Some(cluster), None);
        Ok(())
    }
}
