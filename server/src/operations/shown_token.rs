//! A token as a machine or a server shows it: the id is looked up, the hash of the whole is compared, by the ledger.

use muster_state::{Digest, TokenId, command::RecordTokenMisuse};
use sha2::{Digest as _, Sha256};

use super::Unsealed;

/// Takes `mst-<id>-<secret>` apart; nothing shown is no token.
///
/// # Errors
/// A sentence for whoever showed it, without the token.
pub fn parse(text: &str) -> Result<Option<(TokenId, Digest)>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let is_part = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let parts = text.strip_prefix("mst-").and_then(|rest| rest.split_once('-'));
    let Some((id, _)) = parts.filter(|(id, secret)| is_part(id, 8) && is_part(secret, 32)) else {
        let message = "the token is malformed: it reads mst-<8 characters>-<32 characters>, of a-z and 0-9; copy the whole line \
                       that `muster token create` (or `muster server token create`) printed";
        return Err(message.into());
    };
    Ok(Some((id.into(), Digest(Sha256::digest(text).into()))))
}

/// A refusal leaves no trace of its own. That somebody holds a token which was used, has ended or was taken back is what an
/// operator must hear of, whatever becomes of whoever showed it.
pub(super) async fn tell_of_misuse(server: &Unsealed, misuse: RecordTokenMisuse) {
    let token = misuse.token.clone();
    if let Err(err) = server.ledger.propose(misuse).await {
        tracing::warn!(%token, %err, "the misuse of a token was not recorded");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_token_is_named_as_such_and_never_repeated() {
        for bad in ["x", "mst-", "mst-abcdefgh", "mst-abcdefgh-short", "mst-ABCDEFGH-00000000000000000000000000000000"]
        {
            let Err(message) = parse(bad) else { panic!("{bad} was taken") };
            assert!(message.contains("malformed") && (bad.len() < 5 || !message.contains(bad)));
        }
    }

    #[test]
    fn only_the_hash_of_a_token_goes_on() {
        let text = format!("mst-abcdefgh-{}", "0".repeat(32));
        let Ok(Some((id, digest))) = parse(&text) else { panic!("refused") };
        assert_eq!(id.as_str(), "abcdefgh");
        assert_eq!(digest, Digest(Sha256::digest(&text).into()));
        assert!(matches!(parse(" \n"), Ok(None)));
    }
}
