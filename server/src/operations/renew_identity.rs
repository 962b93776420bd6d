//! Binds a node's next key and signs for it.

use muster_state::{Bytes, Digest, NodeId, Refusal, command::RenewIdentity, record::Certificate};
use muster_trust::{Role, SpiffeId};

use super::{
    Unsealed,
    issue_certificate::{IssueError, sign},
};
use crate::{ledger::ProposeError, pki::CertificateRequest};

/// The next generation and its certificate.
pub async fn run(
    server: &Unsealed,
    node: &NodeId,
    key: Digest,
    generation: u64,
    csr_der: Vec<u8>,
) -> Result<(u64, Certificate), IssueError> {
    let refused = |err: &dyn std::fmt::Display| IssueError::Request(err.to_string());
    let request = CertificateRequest::parse(&csr_der).map_err(|err| refused(&err))?;
    // Before the key is bound: a key whose certificate can't be signed would stand in the way of every other.
    let identity = SpiffeId::new(server.fleet.as_str(), Role::Node, node.as_str()).map_err(|err| refused(&err))?;
    request.check_names(&identity).map_err(|err| refused(&err))?;
    let (new_key, csr) = (Digest(*request.pin().as_bytes()), Bytes(csr_der));
    let verb = RenewIdentity { node: node.clone(), key, generation, new_key, csr: csr.clone() };
    let next = server.ledger.propose(verb).await.map_err(IssueError::Propose)?;
    if next == 0 {
        let reason = "two different keys asked to succeed one generation".into();
        return Err(IssueError::Propose(ProposeError::Refused(Refusal::Locked(reason))));
    }
    Ok((next, sign(server, node, new_key, &csr).await?))
}
