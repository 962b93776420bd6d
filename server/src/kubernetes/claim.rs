//! A certificate request of a cluster as the rules want to see it: who made it, and what its PKCS#10 asks for. Nothing here
//! decides.

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use muster_state::{Digest, csr::CsrClaim};

use crate::operations::kubelet_request;

/// What the request says.
pub(super) fn of(request: &CertificateSigningRequest) -> CsrClaim {
    let spec = &request.spec;
    let claim = CsrClaim {
        signer: spec.signer_name.clone(),
        user: spec.username.clone().unwrap_or_default(),
        groups: spec.groups.iter().flatten().cloned().collect(),
        usages: spec.usages.iter().flatten().cloned().collect(),
        content: kubelet_request::content(&spec.request.0),
        node_is_ready: false,
    };
    claim.bounded()
}

/// SHA-256 of the PKCS#10, as it was posted.
pub(super) fn digest(request: &CertificateSigningRequest) -> Digest {
    kubelet_request::digest(&request.spec.request.0)
}
