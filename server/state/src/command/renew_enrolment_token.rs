use serde::{Deserialize, Serialize};

use crate::{Refusal, State, TokenId, record::TokenStanding, state::{Change, Context}};

/// Gives an enrolment token that is not spent or revoked a new end. Replies with it, milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewEnrolmentToken {
    /// Which one.
    pub id: TokenId,
    /// Lifetime from now, milliseconds.
    pub ttl_ms: u64,
}

impl RenewEnrolmentToken {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<u64, Refusal> {
        let Some(token) = state.enrolment_tokens.get_mut(&self.id) else {
            return Err(Refusal::not_found("enrolment token", self.id));
        };
        match token.standing(context.now_ms) {
            TokenStanding::Revoked => return Err(Refusal::TokenRevoked(self.id)),
            TokenStanding::Spent => return Err(Refusal::TokenSpent(self.id)),
            TokenStanding::Live | TokenStanding::Expired => {}
        }
        token.expires_ms = context.now_ms.saturating_add(self.ttl_ms);
        let expires_ms = token.expires_ms;
        state.changes.push(Change::Other);
        Ok(expires_ms)
    }
}
