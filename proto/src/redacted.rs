//! `Debug` of the messages that carry secrets: their name and nothing of their content.

use std::fmt::{Debug, Formatter, Result};

macro_rules! redact {
    ($($message:ty),* $(,)?) => {
        $(impl Debug for $message {
            fn fmt(&self, f: &mut Formatter<'_>) -> Result {
                f.write_str(concat!(stringify!($message), " { [redacted] }"))
            }
        })*
    };
}

redact!(
    crate::enrolment::v1::Proof,
    crate::join::v1::StepPayload,
    crate::join::v1::File,
    crate::admin::v1::PkiFile,
    crate::admin::v1::ImportClusterRequest,
    crate::admin::v1::JoinCommand,
    crate::admin::v1::CreateTokenRequest,
    crate::admin::v1::CreateServerTokenRequest,
    crate::internal::raft::v1::Entry,
    crate::internal::raft::v1::InstallSnapshotRequest,
    crate::internal::raft::v1::ForwardRequest,
    crate::internal::raft::v1::RenderPayloadResponse,
);
