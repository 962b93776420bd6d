//! Signs a node's certificate after its admission has committed, and lets the ledger choose the one answer.

use muster_state::{Bytes, Digest, NodeId, Refusal, command::IssueCertificate, record::Certificate};

use super::{NotAVoter, Unsealed};
use crate::{
    clock::now_ms,
    ledger::ProposeError,
    pki::{CertificateRequest, LeafTerms},
};

/// Why no certificate came out.
pub enum IssueError {
    /// The ledger refused.
    Propose(ProposeError),
    /// The request asks for more than its node's identity.
    Request(String),
    /// Nobody who could be asked can sign now; a sentence.
    Unavailable(String),
}

impl From<NotAVoter> for IssueError {
    fn from(error: NotAVoter) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// The certificate of the node's first key.
pub async fn run(server: &Unsealed, id: &NodeId) -> Result<Certificate, IssueError> {
    let found =
        server.ledger.read(|state| state.nodes.get(id).map(|node| (node.identity.key, node.identity.csr.clone())));
    let Some((key, csr)) = found else {
        return Err(IssueError::Propose(ProposeError::Refused(Refusal::not_found("node", id))));
    };
    sign(server, id, key, &csr).await
}

/// Signs for one of the node's keys (its first, or its next in a renewal).
pub(super) async fn sign(server: &Unsealed, id: &NodeId, key: Digest, csr: &Bytes) -> Result<Certificate, IssueError> {
    let request = CertificateRequest::parse(&csr.0).map_err(|err| IssueError::Request(err.to_string()))?;
    let certified = server
        .keys()?
        .pki
        .certify(&request, &LeafTerms::node(id.as_str()), now_ms())
        .map_err(|err| IssueError::Request(err.to_string()))?;
    let chain = certified.chain.iter().map(|der| Bytes(der.to_vec())).collect();
    let certificate = Certificate { chain, not_after_ms: certified.not_after_ms };
    let verb = IssueCertificate { node: id.clone(), key, certificate };
    server.ledger.propose(verb).await.map_err(IssueError::Propose)
}
