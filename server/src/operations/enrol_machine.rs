//! Checks what a machine proved and puts it to the ledger.

use anyhow::anyhow;
use aws_lc_rs::rand;
use muster_state::{
    Bytes, Digest, NodeId,
    command::{Enrol, Enrolled, RecordTokenMisuse},
    facts::Facts,
};
use muster_trust::{sealing::SealingPublicKey, statement};

use super::{Unsealed, shown_token};
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
        token: shown_token::parse(proof.token).map_err(|message| EnrolError::Bad("TokenUnknown", message))?,
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

async fn tell_of_misuse(server: &Unsealed, error: &ProposeError, misuse: RecordTokenMisuse) {
    use muster_state::Refusal::{TokenExpired, TokenRevoked, TokenSpent};
    if matches!(error, ProposeError::Refused(TokenSpent(_) | TokenExpired(_) | TokenRevoked(_))) {
        shown_token::tell_of_misuse(server, misuse).await;
    }
}
