//! Checks what a machine proved and puts it to the ledger.

use anyhow::anyhow;
use aws_lc_rs::rand;
use muster_state::{
    Bytes, Digest, NodeId, TokenId,
    command::{Enrol, Enrolled, RecordTokenMisuse},
    facts::Facts,
};
use muster_trust::{sealing::SealingPublicKey, statement};
use sha2::{Digest as _, Sha256};

use super::Unsealed;
use crate::{ledger::ProposeError, pki::CertificateRequest};

/// What a machine states of itself, as parsed from the bytes it signed.
pub struct Claims {
    /// The nonce that it answers.
    pub nonce: Vec<u8>,
    /// The fleet that it means.
    pub fleet: String,
    /// PKCS#10, DER.
    pub csr_der: Vec<u8>,
    /// HPKE public key.
    pub sealing_key: Vec<u8>,
    /// Its hardware.
    pub facts: Facts,
}

/// What the agent sent.
pub struct Proof<'a> {
    /// The signed bytes.
    pub statement: &'a [u8],
    /// What they say.
    pub claims: Claims,
    /// The signature over them.
    pub signature: &'a [u8],
    /// The enrolment token, or nothing.
    pub token: &'a str,
    /// Address it came from.
    pub from: &'a str,
}

/// Why a proof was not accepted.
pub enum EnrolError {
    /// A closed word and a sentence.
    Bad(&'static str, String),
    /// The ledger refused it.
    Propose(ProposeError),
}

/// 32 random bytes that a machine must sign.
pub fn nonce() -> anyhow::Result<[u8; 32]> {
    let mut nonce = [0; 32];
    rand::fill(&mut nonce).map_err(|_| anyhow!("no randomness"))?;
    Ok(nonce)
}

/// Verifies the proof against the nonce of this very stream, then redeems and binds in one command.
pub async fn run(server: &Unsealed, nonce: &[u8; 32], proof: Proof<'_>) -> Result<Enrolled, EnrolError> {
    let bad = |message: String| EnrolError::Bad("BadStatement", message);
    let Claims { nonce: signed, fleet, csr_der, sealing_key, facts } = proof.claims;
    if signed != nonce || fleet != server.fleet.as_str() {
        return Err(bad("the statement answers another challenge; start again".into()));
    }
    // All that could keep the certificate from being signed is looked at here, before a token is used for it.
    let request = CertificateRequest::parse(&csr_der).and_then(|request| request.check_nameless().map(|()| request));
    let request = request.map_err(|err| EnrolError::Bad("BadCertificateRequest", err.to_string()))?;
    if statement::verify(request.spki_der(), proof.statement, proof.signature).is_err() {
        return Err(bad("the signature is not by the key of the certificate request".into()));
    }
    if SealingPublicKey::from_bytes(&sealing_key).is_err() {
        return Err(bad("the sealing key is no X25519 public key".into()));
    }
    let verb = Enrol {
        candidate: NodeId(uuid::Uuid::new_v4().to_string()),
        token: parse_token(proof.token)?,
        key: Digest(*request.pin().as_bytes()),
        csr: Bytes(csr_der),
        sealing_key: Bytes(sealing_key),
        facts,
        from: proof.from.to_owned(),
    };
    let seen = verb.token.clone().map(|(token, sha256)| RecordTokenMisuse {
        token,
        sha256,
        key: verb.key,
        from: verb.from.clone(),
    });
    let enrolled = server.ledger.propose(verb).await;
    if let (Err(error), Some(misuse)) = (&enrolled, seen) {
        tell_of_misuse(server, error, misuse).await;
    }
    enrolled.map_err(EnrolError::Propose)
}

/// A refusal leaves no trace of its own. That somebody holds a token which was used, has ended or was taken back is what an
/// operator must hear of, whatever becomes of the machine that showed it.
async fn tell_of_misuse(server: &Unsealed, error: &ProposeError, misuse: RecordTokenMisuse) {
    use muster_state::Refusal::{TokenExpired, TokenRevoked, TokenSpent};
    if !matches!(error, ProposeError::Refused(TokenSpent(_) | TokenExpired(_) | TokenRevoked(_))) {
        return;
    }
    let token = misuse.token.clone();
    if let Err(err) = server.ledger.propose(misuse).await {
        tracing::warn!(%token, %err, "the misuse of an enrolment token was not recorded");
    }
}

/// `mst-<id>-<secret>`: the id is looked up, the hash of the whole is compared, by the ledger.
fn parse_token(text: &str) -> Result<Option<(TokenId, Digest)>, EnrolError> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let is_part = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let parts = text.strip_prefix("mst-").and_then(|rest| rest.split_once('-'));
    let Some((id, _)) = parts.filter(|(id, secret)| is_part(id, 8) && is_part(secret, 32)) else {
        let message = "the enrolment token is malformed: it reads mst-<8 characters>-<32 characters>, of a-z and 0-9; \
                       copy the whole line that `muster token create` printed";
        return Err(EnrolError::Bad("TokenUnknown", message.into()));
    };
    Ok(Some((id.into(), Digest(Sha256::digest(text).into()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_token_is_named_as_such_and_never_repeated() {
        for bad in ["x", "mst-", "mst-abcdefgh", "mst-abcdefgh-short", "mst-ABCDEFGH-00000000000000000000000000000000"]
        {
            let Err(EnrolError::Bad(word, message)) = parse_token(bad) else { panic!("{bad} was taken") };
            assert_eq!(word, "TokenUnknown");
            assert!(message.contains("malformed") && (bad.len() < 5 || !message.contains(bad)));
        }
    }

    #[test]
    fn only_the_hash_of_a_token_goes_on() {
        let text = format!("mst-abcdefgh-{}", "0".repeat(32));
        let Ok(Some((id, digest))) = parse_token(&text) else { panic!("refused") };
        assert_eq!(id.as_str(), "abcdefgh");
        assert_eq!(digest, Digest(Sha256::digest(&text).into()));
        assert!(matches!(parse_token(" \n"), Ok(None)));
    }
}
