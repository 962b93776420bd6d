//! A snapshot on its way in: chunks in order, of one leader, within a bound.
//!
//! openraft's own receiver writes wherever a chunk says it belongs, and keeps what an earlier, longer transfer of the same name
//! left behind. This one takes a chunk only where the last one ended.

use openraft::SnapshotSegmentId;
use openraft::error::{InstallSnapshotError, SnapshotMismatch};
use openraft::raft::InstallSnapshotRequest;

use super::machine::Machine;
use super::types::{TypeConfig, Vote};
use crate::storage::snapshots::FILE_BYTES_MAX;

/// What has come of a snapshot so far.
#[derive(Default)]
pub(super) struct Receiving {
    current: Option<Begun>,
}

struct Begun {
    vote: Vote,
    id: String,
    bytes: Vec<u8>,
}

impl Receiving {
    /// Takes a chunk in and gives the whole if it was the last one. A chunk that does not follow on the last one makes the
    /// sender begin again, and so does one that would make the snapshot larger than can be kept.
    pub(super) fn take_in<M: Machine>(
        &mut self,
        chunk: InstallSnapshotRequest<TypeConfig<M>>,
    ) -> Result<Option<Vec<u8>>, InstallSnapshotError> {
        let id = &chunk.meta.snapshot_id;
        let follows = |begun: &Begun| begun.vote == chunk.vote && begun.id == *id;
        let mut begun = match self.current.take() {
            Some(begun) if chunk.offset != 0 && follows(&begun) => begun,
            _ => Begun { vote: chunk.vote, id: id.clone(), bytes: Vec::new() },
        };
        let expected = begun.bytes.len() as u64;
        if chunk.offset != expected || expected + chunk.data.len() as u64 > FILE_BYTES_MAX {
            return Err(mismatch(id, chunk.offset));
        }
        begun.bytes.extend_from_slice(&chunk.data);
        if chunk.done {
            return Ok(Some(begun.bytes));
        }
        self.current = Some(begun);
        Ok(None)
    }
}

/// openraft's sender begins again at the start when it hears this.
fn mismatch(id: &str, offset: u64) -> InstallSnapshotError {
    let segment = |offset| SnapshotSegmentId { id: id.to_owned(), offset };
    InstallSnapshotError::SnapshotMismatch(SnapshotMismatch { expect: segment(0), got: segment(offset) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::machine::toy::Toy;
    use crate::consensus::types::SnapshotMeta;

    fn chunk(term: u64, id: &str, offset: u64, data: &[u8], done: bool) -> InstallSnapshotRequest<TypeConfig<Toy>> {
        let meta = SnapshotMeta { snapshot_id: id.to_owned(), ..SnapshotMeta::default() };
        InstallSnapshotRequest { vote: Vote::new_committed(term, 1), meta, offset, data: data.to_vec(), done }
    }

    #[test]
    fn chunks_in_order_make_the_whole() {
        let mut receiving = Receiving::default();
        assert_eq!(receiving.take_in(chunk(1, "a", 0, b"one", false)), Ok(None));
        assert_eq!(receiving.take_in(chunk(1, "a", 3, b"two", false)), Ok(None));
        assert_eq!(receiving.take_in(chunk(1, "a", 6, b"", true)), Ok(Some(b"onetwo".to_vec())));
        assert!(receiving.current.is_none());
    }

    #[test]
    fn a_transfer_that_begins_again_keeps_nothing_of_the_first() {
        let mut receiving = Receiving::default();
        assert_eq!(receiving.take_in(chunk(1, "a", 0, b"a long first chunk", false)), Ok(None));
        assert_eq!(receiving.take_in(chunk(1, "a", 0, b"short", true)), Ok(Some(b"short".to_vec())));
    }

    #[test]
    fn a_gap_a_repeat_another_leader_and_another_snapshot_make_the_sender_begin_again() {
        for wrong in [
            chunk(1, "a", 4, b"x", true),
            chunk(1, "a", 2, b"x", true),
            chunk(2, "a", 3, b"x", true),
            chunk(1, "b", 3, b"x", true),
            chunk(1, "a", u64::MAX, b"x", true),
        ] {
            let mut receiving = Receiving::default();
            assert_eq!(receiving.take_in(chunk(1, "a", 0, b"one", false)), Ok(None));
            assert!(receiving.take_in(wrong).is_err());
            assert!(receiving.take_in(chunk(1, "a", 3, b"two", true)).is_err(), "what was received is forgotten");
        }
    }
}
