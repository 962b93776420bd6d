//! Certificates that Muster makes, checks and takes over.
//!
//! In reading order: the fleet's own authorities (`fleet`, their public half in `anchors`) and what they issue (`issue`,
//! `request`), the PKI of a Kubernetes cluster made before any machine exists (`cluster`), and one that is brought in
//! (`import`, and `kubeconfig` for the way to its API). Time is always a parameter, in milliseconds since 1970; keys leave only as secrets, to be sealed by the
//! caller.
//!
//! Deliberately absent: verifying peers (`muster-trust` does that for both ends) and storing anything.

mod anchors;
mod certificate;
mod cluster;
mod cluster_client;
mod error;
mod fleet;
mod import;
mod issue;
pub mod kubeconfig;
mod pem;
mod request;

pub use anchors::FleetAnchors;
pub use certificate::{certificates_to_pem, key_to_pem, not_after_ms};
pub use cluster::{Authority as ClusterAuthority, ClusterPki, KeyAlgorithm, PkiFile, UnknownKeyAlgorithm, file};
pub use cluster_client::{LINK_LIFETIME_MS, LinkTerms, issue_for_link};
pub use error::PkiError;
pub use fleet::{Authority, FleetParts, FleetPki, NewFleet};
pub use import::{
    AuthorityReport, CertificateReport, EXPIRES_SOON_MS, FileProblem, ImportError, ImportReport, Imported, KeyReport,
    Problem, import, read_dir,
};
pub use issue::{Certified, LeafTerms, NODE_LIFETIME_MS, NewIdentity, OPERATOR_LIFETIME_MS, SERVER_LIFETIME_MS};
pub use request::{CertificateRequest, RequestError};
