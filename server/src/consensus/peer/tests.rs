use openraft::EntryPayload;

use super::*;
use crate::consensus::machine::toy::Toy;
use crate::consensus::mesh::{Group, write};
use crate::consensus::types::{Entry, LogId};

fn mk_append(vote: Vote, previous: LogId, indices: &[u64]) -> Append<Toy> {
    let entry =
        |index: &u64| Entry::<Toy> { log_id: LogId { index: *index, ..previous }, payload: EntryPayload::Blank };
    Append::<Toy> {
        vote,
        prev_log_id: Some(previous),
        entries: indices.iter().map(entry).collect(),
        leader_commit: Some(previous),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_leave_a_gap_are_refused_and_the_server_goes_on() {
    let group = Group::of(&[1, 2, 3], 1_000_000).await;
    let leader = group.server(1);
    write(&leader, "before").await.unwrap();
    group.agree(&[1, 2, 3]).await;
    let (follower, door) = (group.server(2), group.server(2).peer());
    let metrics = door.raft.metrics().borrow().clone();
    let last = metrics.last_applied.unwrap();
    for (indices, index) in [(&[4_u64, 5][..], 4), (&[1, 3][..], 3), (&[0][..], 0)] {
        let indices: Vec<u64> = indices.iter().map(|index| last.index + index).collect();
        let refused = door.append_entries(1, mk_append(metrics.vote, last, &indices)).await.err();
        assert_eq!(refused, Some(PeerError::Gap { index: last.index + index }));
    }
    write(&leader, "after").await.unwrap();
    group.agree(&[1, 2, 3]).await;
    assert_eq!(follower.read(|toy| toy.notes.len()), 2);
    drop((leader, follower, door));
    group.stop().await;
}
