//! A group that begins with a state instead of with nothing: what a backup is restored into.

use std::collections::BTreeSet;

use openraft::CommittedLeaderId;

use super::codec;
use super::error::OpenError;
use super::handle::Consensus;
use super::machine::Machine;
use super::options::Options;
use super::types::{LogId, Membership, Peer, Peers, ServerId, StoredMembership, Vote};
use crate::process;
use crate::storage::directory::DataDirectory;
use crate::storage::snapshots::{Snapshot, Snapshots};
use crate::storage::{Opened, PurgePoint, Store};

/// Term and index of the entry that the first snapshot stands for. There is no such entry: the log begins after it.
const TERM: u64 = 1;
const INDEX: u64 = 1;

impl<M: Machine> Consensus<M> {
    /// Fills an empty data directory so that [`Consensus::open`] finds a group of this one server whose state is `machine`,
    /// as if a log had led to it and was purged. All of it is durable on return; after an error the directory is of no use.
    ///
    /// # Errors
    /// [`OpenError::Settings`] if the directory has a log already, and those of storage.
    pub async fn seed(options: Options, peer: Peer, machine: &M) -> Result<(), OpenError> {
        let Options { data_dir, id, engine, .. } = options;
        let directory = DataDirectory::open(&data_dir)?;
        let (store, thread, opened) = Store::open(&directory, id, engine)?;
        let filled = if opened == Opened::default() {
            fill(&directory, store, id, peer, machine).await
        } else {
            drop(store);
            Err(OpenError::Settings(format!("{} has a log already", data_dir.display())))
        };
        // In any case: nothing may write to the directory any more when this returns.
        process::blocking(move || {
            thread.join();
            drop(directory);
        })
        .await;
        filled
    }
}

async fn fill<M: Machine>(
    directory: &DataDirectory,
    store: Store,
    id: ServerId,
    peer: Peer,
    machine: &M,
) -> Result<(), OpenError> {
    let last = LogId::new(CommittedLeaderId::new(TERM, 0), INDEX);
    let founder = Membership::new(vec![BTreeSet::from([id])], Peers::from([(id, peer)]));
    let meta = codec::snapshot_meta(Some(last), StoredMembership::new(Some(last), founder));
    let state = machine.to_snapshot().map_err(OpenError::Settings)?;
    let snapshot = Snapshot { index: INDEX, meta: codec::render_meta(&meta), state };
    let snapshots = Snapshots::open(directory.snapshots()?)?;
    // The snapshot first: a log that begins after it must never be without it.
    process::blocking(move || snapshots.save(&snapshot)).await?;
    store.save_vote(codec::render_vote(&Vote::new(TERM, id))).await?;
    store.purge(PurgePoint { index: INDEX, detail: codec::render_log_id(&last) }).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::consensus::machine::toy::{Toy, Write};
    use crate::storage::Engine;
    use crate::storage::engine::testing::on_each_engine;

    const SOON: Duration = Duration::from_secs(20);

    fn mk_options(home: &tempfile::TempDir, engine: Engine) -> Options {
        Options { engine, ..Options::new(home.path().join("data"), 7) }
    }

    fn mk_peer() -> Peer {
        Peer { address: "192.0.2.7:9446".into() }
    }

    on_each_engine!(a_group_goes_on_from_the_state_it_was_given_and_keeps_what_follows);
    async fn a_group_goes_on_from_the_state_it_was_given_and_keeps_what_follows(engine: Engine) {
        let home = tempfile::tempdir().unwrap();
        let mut toy = Toy::default();
        toy.apply(9, muster_state::Stamp { now_ms: 5 }, Write::new("before"));
        Consensus::seed(mk_options(&home, engine), mk_peer(), &toy).await.unwrap();
        for round in 0..3 {
            let consensus = Consensus::<Toy>::open(mk_options(&home, engine)).await.unwrap();
            assert!(!consensus.initialize(Peer::default()).await.unwrap(), "it has a group already");
            consensus.wait_ready(SOON).await.unwrap();
            assert_eq!(consensus.status().members.keys().copied().collect::<Vec<_>>(), [7]);
            let texts = consensus.read(|now| now.notes.iter().map(|note| note.text.clone()).collect::<Vec<_>>());
            assert_eq!((texts.len(), texts[0].as_str()), (1 + round, "before"));
            consensus.propose(Write::new(format!("after {round}")), SOON).await.unwrap();
            consensus.shutdown().await;
        }
    }

    on_each_engine!(a_directory_with_a_log_is_left_alone);
    async fn a_directory_with_a_log_is_left_alone(engine: Engine) {
        let home = tempfile::tempdir().unwrap();
        Consensus::seed(mk_options(&home, engine), mk_peer(), &Toy::default()).await.unwrap();
        let again = Consensus::seed(mk_options(&home, engine), mk_peer(), &Toy::default()).await;
        assert!(matches!(again, Err(OpenError::Settings(why)) if why.contains("has a log already")));
    }
}
