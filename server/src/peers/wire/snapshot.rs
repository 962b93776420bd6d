//! Pieces of a snapshot, each with its checksum.
//!
//! TLS keeps a piece whole on its way. The checksum is for what happens before and after: it is taken from what the sender
//! read and compared with what the receiver is about to write.

use muster_proto::internal::raft::v1::{
    Envelope, InstallSnapshotRequest, InstallSnapshotResponse, Segment, SegmentMismatch,
    install_snapshot_response::Outcome,
};
use openraft::SnapshotSegmentId;
use openraft::error::SnapshotMismatch;
use openraft::raft::{InstallSnapshotRequest as Piece, InstallSnapshotResponse as Installed};
use sha2::{Digest as _, Sha256};

use super::Malformed;
use super::raft::{parse_vote, render_vote};
use crate::consensus::codec;
use crate::consensus::machine::Machine;
use crate::consensus::types::{ServerId, TypeConfig};

/// What became of a piece.
pub type Outcomes = Result<Installed<ServerId>, SnapshotMismatch>;

/// Renders a piece.
pub fn render<M: Machine>(envelope: Envelope, piece: Piece<TypeConfig<M>>) -> InstallSnapshotRequest {
    let Piece { vote, meta, offset, data, done } = piece;
    let meta = codec::render_meta(&meta);
    let sha256 = checksum(offset, done, &meta, &data);
    let vote = Some(render_vote(&vote));
    InstallSnapshotRequest { envelope: Some(envelope), vote, meta, offset, data, done, sha256 }
}

/// Reads a piece.
///
/// # Errors
/// If it is not what was sent.
pub fn parse<M: Machine>(request: InstallSnapshotRequest) -> Result<Piece<TypeConfig<M>>, Malformed> {
    let InstallSnapshotRequest { envelope: _, vote, meta, offset, data, done, sha256 } = request;
    if checksum(offset, done, &meta, &data) != sha256 {
        return Err(Malformed::wrong("a piece of a snapshot", "is damaged: its checksum does not fit"));
    }
    let meta = codec::parse_meta(&meta).map_err(|error| Malformed::wrong("the description of a snapshot", error))?;
    Ok(Piece { vote: parse_vote(vote)?, meta, offset, data, done })
}

fn checksum(offset: u64, done: bool, meta: &[u8], data: &[u8]) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(offset.to_be_bytes());
    hash.update([u8::from(done)]);
    hash.update((meta.len() as u64).to_be_bytes());
    hash.update(meta);
    hash.update(data);
    hash.finalize().to_vec()
}

/// Renders what became of a piece.
pub fn render_installed(outcome: &Outcomes) -> InstallSnapshotResponse {
    let segment = |segment: &SnapshotSegmentId| Segment { snapshot_id: segment.id.clone(), offset: segment.offset };
    let outcome = match outcome {
        Ok(installed) => Outcome::Vote(render_vote(&installed.vote)),
        Err(SnapshotMismatch { expect, got }) => {
            Outcome::Mismatch(SegmentMismatch { expected: Some(segment(expect)), got: Some(segment(got)) })
        }
    };
    InstallSnapshotResponse { outcome: Some(outcome) }
}

/// Reads what became of a piece.
///
/// # Errors
/// If it says nothing.
pub fn parse_installed(response: InstallSnapshotResponse) -> Result<Outcomes, Malformed> {
    let segment = |segment: Option<Segment>| {
        let Segment { snapshot_id, offset } = segment.ok_or_else(|| Malformed::missing("a segment"))?;
        Ok(SnapshotSegmentId { id: snapshot_id, offset })
    };
    match response.outcome.ok_or_else(|| Malformed::missing("the outcome"))? {
        Outcome::Vote(ballot) => Ok(Ok(Installed { vote: parse_vote(Some(ballot))? })),
        Outcome::Mismatch(SegmentMismatch { expected, got }) => {
            Ok(Err(SnapshotMismatch { expect: segment(expected)?, got: segment(got)? }))
        }
    }
}
