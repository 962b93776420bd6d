//! What relays ask and voters answer.

use muster_proto::internal::raft::v1::{
    Certificate as WireCertificate, Envelope, IssueCertificateRequest, IssueCertificateResponse, RelayRefusal,
    RenderPayloadRequest, RenderPayloadResponse, RenewCertificateRequest, RenewCertificateResponse, Renewed, Unit,
    issue_certificate_response, relay_refusal::Why, render_payload_response, renew_certificate_response,
};
use muster_proto::join::v1::Sealed;
use muster_state::record::Certificate;
use muster_state::{Bytes, Digest, NodeId, Refusal};
use muster_trust::sealing::SealedToNode;

use super::Malformed;
use crate::peers::relay::{PayloadAsk, RelayError, RenewalAsk};

fn key(sha256: Vec<u8>) -> Result<Digest, Malformed> {
    sha256.try_into().map(Digest).map_err(|_| Malformed::wrong("the key", "must be a SHA-256"))
}

/// Renders the question for a payload.
pub fn render_payload_ask(envelope: Envelope, ask: PayloadAsk) -> RenderPayloadRequest {
    let PayloadAsk { node, attempt, step, key } = ask;
    let (node_id, key_sha256) = (node.to_string(), key.0.to_vec());
    RenderPayloadRequest { envelope: Some(envelope), node_id, attempt, step, key_sha256 }
}

/// Reads the question for a payload.
///
/// # Errors
/// If the key is no digest.
pub fn parse_payload_ask(request: RenderPayloadRequest) -> Result<PayloadAsk, Malformed> {
    let RenderPayloadRequest { envelope: _, node_id, attempt, step, key_sha256 } = request;
    Ok(PayloadAsk { node: node_id.as_str().into(), attempt, step, key: key(key_sha256)? })
}

/// Renders a payload, or why there is none.
pub fn render_payload(answer: Result<SealedToNode, RelayError>) -> RenderPayloadResponse {
    use render_payload_response::Outcome;
    RenderPayloadResponse {
        outcome: Some(match answer {
            Ok(SealedToNode { enc, ciphertext }) => Outcome::Payload(Sealed { enc, ciphertext }),
            Err(error) => Outcome::Refused(render_refusal(&error)),
        }),
    }
}

/// Reads a payload, or why there is none.
///
/// # Errors
/// If it says nothing.
pub fn parse_payload(response: RenderPayloadResponse) -> Result<Result<SealedToNode, RelayError>, Malformed> {
    use render_payload_response::Outcome;
    match response.outcome.ok_or_else(|| Malformed::missing("the outcome"))? {
        Outcome::Payload(Sealed { enc, ciphertext }) => Ok(Ok(SealedToNode { enc, ciphertext })),
        Outcome::Refused(refusal) => parse_refusal(refusal).map(Err),
    }
}

/// Renders the question for a node's first certificate.
pub fn render_issue_ask(envelope: Envelope, node: &NodeId) -> IssueCertificateRequest {
    IssueCertificateRequest { envelope: Some(envelope), node_id: node.to_string() }
}

/// Renders a node's first certificate, or why there is none.
pub fn render_issued(answer: Result<Certificate, RelayError>) -> IssueCertificateResponse {
    use issue_certificate_response::Outcome;
    IssueCertificateResponse {
        outcome: Some(match answer {
            Ok(certificate) => Outcome::Certificate(render_certificate(certificate)),
            Err(error) => Outcome::Refused(render_refusal(&error)),
        }),
    }
}

/// Reads a node's first certificate, or why there is none.
///
/// # Errors
/// If it says nothing.
pub fn parse_issued(response: IssueCertificateResponse) -> Result<Result<Certificate, RelayError>, Malformed> {
    use issue_certificate_response::Outcome;
    match response.outcome.ok_or_else(|| Malformed::missing("the outcome"))? {
        Outcome::Certificate(certificate) => Ok(Ok(parse_certificate(certificate))),
        Outcome::Refused(refusal) => parse_refusal(refusal).map(Err),
    }
}

/// Renders the question for a node's next certificate.
pub fn render_renewal_ask(envelope: Envelope, ask: RenewalAsk) -> RenewCertificateRequest {
    let RenewalAsk { node, key, generation, csr } = ask;
    let (node_id, key_sha256, csr_der) = (node.to_string(), key.0.to_vec(), csr.0);
    RenewCertificateRequest { envelope: Some(envelope), node_id, key_sha256, generation, csr_der }
}

/// Reads the question for a node's next certificate.
///
/// # Errors
/// If the key is no digest.
pub fn parse_renewal_ask(request: RenewCertificateRequest) -> Result<RenewalAsk, Malformed> {
    let RenewCertificateRequest { envelope: _, node_id, key_sha256, generation, csr_der } = request;
    Ok(RenewalAsk { node: node_id.as_str().into(), key: key(key_sha256)?, generation, csr: Bytes(csr_der) })
}

/// Renders a node's next certificate, or why there is none.
pub fn render_renewed(answer: Result<(u64, Certificate), RelayError>) -> RenewCertificateResponse {
    use renew_certificate_response::Outcome;
    RenewCertificateResponse {
        outcome: Some(match answer {
            Ok((generation, certificate)) => {
                Outcome::Renewed(Renewed { generation, certificate: Some(render_certificate(certificate)) })
            }
            Err(error) => Outcome::Refused(render_refusal(&error)),
        }),
    }
}

/// Reads a node's next certificate, or why there is none.
///
/// # Errors
/// If it says nothing.
pub fn parse_renewed(response: RenewCertificateResponse) -> Result<Result<(u64, Certificate), RelayError>, Malformed> {
    use renew_certificate_response::Outcome;
    match response.outcome.ok_or_else(|| Malformed::missing("the outcome"))? {
        Outcome::Renewed(Renewed { generation, certificate }) => {
            let certificate = certificate.ok_or_else(|| Malformed::missing("the certificate"))?;
            Ok(Ok((generation, parse_certificate(certificate))))
        }
        Outcome::Refused(refusal) => parse_refusal(refusal).map(Err),
    }
}

fn render_certificate(certificate: Certificate) -> WireCertificate {
    let Certificate { chain, not_after_ms } = certificate;
    WireCertificate { chain: chain.into_iter().map(|der| der.0).collect(), not_after_ms }
}

fn parse_certificate(certificate: WireCertificate) -> Certificate {
    let WireCertificate { chain, not_after_ms } = certificate;
    Certificate { chain: chain.into_iter().map(Bytes).collect(), not_after_ms }
}

fn render_refusal(error: &RelayError) -> RelayRefusal {
    let why = match error {
        // A refusal is stored, so it always has a JSON; if not, the other end is told that something failed.
        RelayError::Refused(refusal) => serde_json::to_vec(refusal).map_or(Why::Failed(Unit {}), Why::State),
        RelayError::Request(sentence) => Why::Request(sentence.clone()),
        RelayError::Unavailable(sentence) => Why::Unavailable(sentence.clone()),
        RelayError::Moved => Why::Moved(Unit {}),
        RelayError::Failed => Why::Failed(Unit {}),
    };
    RelayRefusal { why: Some(why) }
}

fn parse_refusal(refusal: RelayRefusal) -> Result<RelayError, Malformed> {
    let unknown = |_| Malformed::wrong("the refusal", "is not one this program knows");
    Ok(match refusal.why.ok_or_else(|| Malformed::missing("the reason"))? {
        Why::State(json) => RelayError::Refused(serde_json::from_slice::<Refusal>(&json).map_err(unknown)?),
        Why::Request(sentence) => RelayError::Request(sentence),
        Why::Unavailable(sentence) => RelayError::Unavailable(sentence),
        Why::Moved(Unit {}) => RelayError::Moved,
        Why::Failed(Unit {}) => RelayError::Failed,
    })
}
