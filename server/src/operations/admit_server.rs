//! A server asks to become one of the fleet's: what it proved is checked, its request is put to the ledger, and once an operator
//! has approved it, it gets its certificate.

use muster_state::{
    Bytes, Digest, Refusal,
    command::{IssueServerCertificate, RecordTokenMisuse, RequestServer, ServerRequested},
    record::{Certificate, ServerRecord, ServerUrls},
};
use muster_trust::{
    Peer,
    sealing::SealingPublicKey,
    statement::{self, Purpose},
};
use rustls_pki_types::CertificateDer;

use super::{Unsealed, issue_certificate::IssueError, shown_token};
use crate::{
    clock::now_ms,
    ledger::ProposeError,
    pki::{CertificateRequest, LeafTerms},
};

/// What a server states of itself, as parsed from the bytes it signed.
pub struct Claims {
    /// The nonce that it answers.
    pub nonce: Vec<u8>,
    /// The fleet that it means.
    pub fleet: String,
    /// PKCS#10, DER.
    pub csr_der: Vec<u8>,
    /// HPKE public key.
    pub sealing_key: Vec<u8>,
    /// `host:port` of its peer listener.
    pub address: String,
    /// Its other listeners.
    pub urls: ServerUrls,
    /// Version of its program.
    pub version: String,
}

/// What the server sent.
pub struct Proof<'a> {
    /// The signed bytes.
    pub statement: &'a [u8],
    /// What they say.
    pub claims: Claims,
    /// The signature over them.
    pub signature: &'a [u8],
    /// A token for servers, or nothing if the server asked before.
    pub token: &'a str,
    /// Address it came from.
    pub from: &'a str,
}

/// Why a server was not let in, or got no certificate.
pub enum AdmitError {
    /// A closed word and a sentence.
    Bad(&'static str, String),
    /// The ledger refused it.
    Propose(ProposeError),
}

/// Verifies the proof against the nonce of this very stream, then redeems the token and binds number and keys in one command.
///
/// # Errors
/// [`AdmitError`].
pub async fn request(server: &Unsealed, nonce: &[u8; 32], proof: Proof<'_>) -> Result<ServerRequested, AdmitError> {
    let bad = |message: &str| AdmitError::Bad("BadStatement", message.to_owned());
    let Claims { nonce: answered, fleet, csr_der, sealing_key, address, urls, version } = proof.claims;
    if answered != nonce || fleet != server.fleet.as_str() {
        return Err(bad("the statement answers another challenge"));
    }
    let request = CertificateRequest::parse(&csr_der).and_then(|request| request.check_nameless().map(|()| request));
    let request = request.map_err(|err| AdmitError::Bad("BadCertificateRequest", err.to_string()))?;
    if statement::verify_for(Purpose::Server, request.spki_der(), proof.statement, proof.signature).is_err() {
        return Err(bad("the signature is not by the key of the certificate request"));
    }
    if SealingPublicKey::from_bytes(&sealing_key).is_err() {
        return Err(bad("the sealing key is no X25519 public key"));
    }
    let token = shown_token::parse(proof.token).map_err(|message| AdmitError::Bad("TokenUnknown", message))?;
    let verb = RequestServer {
        token: token.clone(),
        key: Digest(*request.pin().as_bytes()),
        csr: Bytes(csr_der),
        sealing_key: Bytes(sealing_key),
        address,
        urls,
        version,
        from: proof.from.to_owned(),
    };
    let key = verb.key;
    let requested = server.ledger.propose(verb).await;
    if let (Err(ProposeError::Refused(Refusal::ServerTokenSpent(_) | Refusal::ServerTokenExpired(_))), Some(shown)) =
        (&requested, token)
    {
        let (token, sha256) = shown;
        shown_token::tell_of_misuse(server, RecordTokenMisuse { token, sha256, key, from: proof.from.to_owned() })
            .await;
    }
    requested.map_err(AdmitError::Propose)
}

/// The certificate of an admitted server. The first one is decided by the log, so that two servers that sign give one answer.
/// One that is past two thirds of its life is followed by another for the same key, which nobody needs to remember.
///
/// # Errors
/// [`IssueError`]; [`IssueError::Unavailable`] if this server can't sign.
pub async fn certificate(server: &Unsealed, id: u64) -> Result<Certificate, IssueError> {
    let record = server.ledger.read(|state| state.server(id).cloned()).map_err(refused)?;
    if let Some(stored) = record.certificate.clone().filter(|stored| !is_due(stored)) {
        return Ok(stored);
    }
    let signed = sign(server, &record)?;
    if record.certificate.is_some_and(|stored| now_ms() < stored.not_after_ms) {
        return Ok(signed);
    }
    let verb = IssueServerCertificate { server: id, key: record.key, certificate: signed };
    server.ledger.propose(verb).await.map_err(IssueError::Propose)
}

fn refused(refusal: Refusal) -> IssueError {
    IssueError::Propose(ProposeError::Refused(refusal))
}

fn sign(server: &Unsealed, record: &ServerRecord) -> Result<Certificate, IssueError> {
    if !record.standing.is_member() {
        return Err(refused(Refusal::not_approved(record.id)));
    }
    let wrong = |err: &dyn std::fmt::Display| IssueError::Request(err.to_string());
    let request = CertificateRequest::parse(&record.csr.0).map_err(|err| wrong(&err))?;
    let host = record.address.rsplit_once(':').map_or("", |(host, _)| host.trim_matches(['[', ']']));
    let terms = LeafTerms::server(&record.id.to_string(), vec![host.to_owned()]);
    let certified = server.keys()?.pki.certify(&request, &terms, now_ms()).map_err(|err| wrong(&err))?;
    let chain = certified.chain.iter().map(|der| Bytes(der.to_vec())).collect();
    Ok(Certificate { chain, not_after_ms: certified.not_after_ms })
}

fn is_due(certificate: &Certificate) -> bool {
    let leaf = certificate.chain.first().map(|leaf| CertificateDer::from(leaf.0.as_slice()));
    leaf.and_then(|leaf| Peer::of_certificate(&leaf).ok()).is_none_or(|peer| now_ms() >= peer.renew_at_ms())
}
