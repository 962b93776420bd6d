//! What every call has in common: who calls, and for changes which request it is.

use muster_proto::admin::v1 as wire;
use muster_state::{Digest, Request as StateRequest};
use prost::Message;
use sha2::{Digest as _, Sha256};
use tonic::{Request, Status};
use zeroize::Zeroizing;

use crate::{
    api::{caller, status},
    operations::{NotAVoter, OperationError, Unsealed},
};

/// Longest request id: a UUID is 36, a trace id 32.
const REQUEST_ID_MAX: usize = 128;

/// The body of a call that changes something.
pub(super) trait Changing: Message {
    /// What was asked for, for the audit trail.
    const CALL: &'static str;

    /// It goes through the log, into which a server that does not vote puts no operator's word. What a server does by itself,
    /// any may do.
    const NEEDS_A_VOTER: bool = true;

    /// Chosen by the caller, the same for each retry.
    fn request_id(&self) -> &str;
}

macro_rules! changing {
    ($($body:ident),* $(,)?) => {
        $(impl Changing for wire::$body {
            const CALL: &'static str = stringify!($body);

            fn request_id(&self) -> &str {
                &self.request_id
            }
        })*
    };
}

changing!(
    CreateClusterRequest,
    ImportClusterRequest,
    SetClusterCredentialsRequest,
    ApplyClusterRequest,
    RemoveEtcdMemberRequest,
    ApproveNodeRequest,
    NodeRequest,
    CreateTokenRequest,
    RevokeTokenRequest,
    RenewTokenRequest,
    CreateJoinCommandRequest,
    CreateServerTokenRequest,
    ApproveServerRequest,
    ServerRequest,
    RemoveServerRequest,
    TransferLeaderRequest,
    TakeBackupRequest,
    RotateDataKeyRequest,
    RenewOperatorRequest,
);

impl Changing for wire::TakeSnapshotRequest {
    const CALL: &'static str = "TakeSnapshotRequest";
    const NEEDS_A_VOTER: bool = false;

    fn request_id(&self) -> &str {
        &self.request_id
    }
}

/// The body of a call that changes nothing, by an operator.
pub(super) fn reading<T>(request: Request<T>) -> Result<T, Status> {
    caller::operator(&request)?;
    Ok(request.into_inner())
}

/// The body of a call that changes something, by an operator, and what tells its retries apart.
/// A relay says so at once: the leader would refuse it only together with what machines at its door asked for meanwhile.
pub(super) fn changing<T: Changing>(server: &Unsealed, request: Request<T>) -> Result<(StateRequest, T), Status> {
    let identified = identified(request)?;
    if T::NEEDS_A_VOTER && !server.ledger.votes() {
        return Err(status::of_operation(NotAVoter.into()));
    }
    Ok(identified)
}

fn identified<T: Changing>(request: Request<T>) -> Result<(StateRequest, T), Status> {
    let caller = caller::operator(&request)?.spiffe;
    let body = request.into_inner();
    let request = identify(caller, &body).map_err(status::of_operation)?;
    tracing::info!(operator = request.caller, request = request.id, call = T::CALL, "an operator asks for a change");
    Ok((request, body))
}

fn identify<T: Changing>(caller: String, body: &T) -> Result<StateRequest, OperationError> {
    let id = body.request_id();
    if id.is_empty() || id.len() > REQUEST_ID_MAX || id.contains(char::is_control) {
        let problem = format!(
            "is needed: 1 to {REQUEST_ID_MAX} characters of your choice, new for each change and the same for its retries"
        );
        return Err(OperationError::invalid("request_id", problem));
    }
    // It may hold keys that are being brought in.
    let encoded = Zeroizing::new(body.encode_to_vec());
    Ok(StateRequest { caller, id: id.to_owned(), digest: Digest(Sha256::digest(encoded.as_slice()).into()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_body(request_id: &str, reason: &str) -> wire::NodeRequest {
        wire::NodeRequest { request_id: request_id.into(), node: "n".into(), reason: reason.into() }
    }

    #[test]
    fn a_change_without_a_request_id_is_refused_and_the_field_named() {
        for bad in ["", "a\nb", &"x".repeat(REQUEST_ID_MAX + 1)] {
            let error = identify("o".into(), &mk_body(bad, "")).unwrap_err();
            assert!(error.to_string().starts_with("request_id: is needed"), "{error}");
        }
    }

    #[test]
    fn a_retry_has_the_same_digest_and_another_body_another() {
        let digest = |id: &str, reason: &str| identify("o".into(), &mk_body(id, reason)).unwrap().digest;
        assert_eq!(digest("r", "x"), digest("r", "x"));
        assert_ne!(digest("r", "x"), digest("r", "y"));
        assert_ne!(digest("r", "x"), digest("s", "x"));
    }

    #[test]
    fn nobody_without_an_operators_certificate_is_answered() {
        assert_eq!(reading(Request::new(())).unwrap_err().code(), tonic::Code::Unauthenticated);
        let refused = identified(Request::new(mk_body("r", ""))).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    }
}
