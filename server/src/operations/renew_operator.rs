//! Certifies an operator anew, before the present certificate runs out. Who calls has shown that one, so no other name is signed.

use muster_state::{Digest, Request, command::RenewOperator};

use super::{OperationError, Unsealed};
use crate::{
    clock::now_ms,
    pki::{CertificateRequest, Certified, LeafTerms},
};

/// The log first, which is the audit record; then the signature. A retry gets another certificate for the same key.
///
/// # Errors
/// [`OperationError::Invalid`] for a request that names somebody else, [`OperationError::NotAVoter`] on a server that can't sign.
pub async fn run(server: &Unsealed, request: Request, name: String, csr: &[u8]) -> Result<Certified, OperationError> {
    let keys = server.keys()?;
    let invalid = |error: &dyn std::fmt::Display| OperationError::invalid("csr_der", error);
    let wanted = CertificateRequest::parse(csr).map_err(|error| invalid(&error))?;
    // Signed before it is decided, so that what can't be signed is not told as done; it leaves this function only after.
    let certified =
        keys.pki.certify(&wanted, &LeafTerms::operator(&name), now_ms()).map_err(|error| invalid(&error))?;
    let key = Digest(*wanted.pin().as_bytes());
    server.ledger.propose_for(request, RenewOperator { name, key }).await?;
    Ok(certified)
}
