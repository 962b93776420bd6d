use serde::{Deserialize, Serialize};

use crate::{
    Digest, Refusal, State, TokenId, limits,
    record::TokenStanding,
    state::{Change, Context},
};

/// Raises the alarm after an enrolment was refused because its token is used up, revoked or expired: somebody else
/// holds it too. Proposed by the server that gave the refusal, since a refusal itself leaves no trace. Locks nobody:
/// whoever finds an old token must not be able to stop a healthy node with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordTokenMisuse {
    /// The token.
    pub token: TokenId,
    /// SHA-256 of the whole token that was shown: only its real holders can raise the alarm.
    pub sha256: Digest,
    /// Fingerprint of the key that came with it.
    pub key: Digest,
    /// Address it came from.
    pub from: String,
}

impl RecordTokenMisuse {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        if state.server_tokens.contains_key(&self.token) {
            return self.of_server_token(state, context);
        }
        let Some(token) = state.enrolment_tokens.get(&self.token).filter(|token| token.sha256 == self.sha256) else {
            return Err(Refusal::TokenUnknown);
        };
        if token.standing(context.now_ms) == TokenStanding::Live {
            return Err(Refusal::invalid("token", "can still be used"));
        }
        let (cluster, winner) = (token.cluster.clone(), token.used_by.last().cloned());
        let Some(token) = state.enrolment_tokens.get_mut(&self.token) else { return Err(Refusal::TokenUnknown) };
        token.misuses = token.misuses.saturating_add(1);
        if token.misuses <= limits::MISUSES_TOLD_MAX {
            let from = limits::clip_to(&self.from, limits::CLAIM_MAX);
            let text = format!("key {} came from {from} with token {}, which can't be used any more", self.key, self.token);
            state.event(true, "TokenMisused", text, Some(cluster), winner);
        }
        state.changes.push(Change::Other);
        Ok(())
    }

    fn of_server_token(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        let token = state.server_tokens.get_mut(&self.token).filter(|token| token.sha256 == self.sha256);
        let Some(token) = token else { return Err(Refusal::ServerTokenUnknown) };
        if token.is_live(context.now_ms) {
            return Err(Refusal::invalid("token", "can still be used"));
        }
        token.misuses = token.misuses.saturating_add(1);
        let is_told = token.misuses <= limits::MISUSES_TOLD_MAX;
        let winner = token.used_by.map_or_else(String::new, |server| format!("; server {server} used it"));
        if is_told {
            let from = limits::clip_to(&self.from, limits::CLAIM_MAX);
            let text = format!("key {} came from {from} with server token {}, which can't be used any more{winner}", self.key, self.token);
            state.event(true, "TokenMisused", text, None, None);
        }
        state.changes.push(Change::Other);
        Ok(())
    }
}
