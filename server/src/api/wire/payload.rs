//! Payloads, on their way from the vault to one node's key.

use muster_proto::join::v1::{File as WireFile, Sealed, StepPayload};
use muster_trust::sealing::SealedToNode;
use prost::Message as _;
use zeroize::Zeroizing;

use crate::operations::payload::{File, Payload};

/// The bytes that are sealed. The message is wiped with them as far as prost lets it.
pub fn encode(payload: Payload) -> Zeroizing<Vec<u8>> {
    let file = |file: File| WireFile {
        path: file.path,
        mode: file.mode,
        content: file.content.to_vec(),
        transient: file.transient,
    };
    let message = StepPayload {
        files: payload.files.into_iter().map(file).collect(),
        config_path: payload.config_path,
        manifest: payload.manifest.to_vec(),
        delete: payload.delete,
        scrub: payload.scrub.into_iter().map(|text| text.to_string()).collect(),
    };
    Zeroizing::new(message.encode_to_vec())
}

/// Sealed bytes as they travel.
pub fn sealed(sealed: SealedToNode) -> Sealed {
    Sealed { enc: sealed.enc, ciphertext: sealed.ciphertext }
}
