//! The nodes as they are, then each that changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use muster_proto::admin::v1::{ListNodesRequest, Node};
use muster_state::NodeId;
use prost::Message as _;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep_until};
use tonic::Request;

use super::{
    Answer,
    call::reading,
    nodes::Filter,
    stream::{self, Gone, Reader, Streamed},
};
use crate::{
    ledger::{Moved, Stopped, Watch},
    operations::Unsealed,
};

/// Shortest time between two looks. A node that changes often is shown as it is then; an eye sees no more, and a thousand
/// lines a second of all agents wake a watcher ten times, not a thousand.
const PACE: Duration = Duration::from_millis(100);

pub(super) fn start(server: &Unsealed, request: Request<ListNodesRequest>) -> Answer<Streamed<Node>> {
    let filter = Filter::parse(server, reading(request)?)?;
    let feeding = server.clone();
    Ok(stream::start(&server.stopping, move |reader| feed(feeding, filter, reader)))
}

async fn feed(server: Unsealed, filter: Filter, reader: Reader<Node>) -> Result<(), Gone> {
    // Before the first look, so that nothing falls between the look and the watch.
    let mut watching = Watching::new(&server);
    let mut sent = Sent::default();
    let mut due: BTreeSet<NodeId> = filter.ids(&server).into_iter().collect();
    loop {
        for id in due {
            if let Some(node) = sent.news(&id, filter.view(&server, &id)) {
                reader.send(node).await?;
            }
        }
        due = match watching.next(PACE).await {
            Ok(Due::These(ids)) => ids,
            Ok(Due::All) => filter.ids(&server).into_iter().chain(sent.ids()).collect(),
            Err(Stopped) => return Ok(()),
        };
    }
}

/// Nodes that may look different.
enum Due {
    These(BTreeSet<NodeId>),
    All,
}

/// Watches records.
struct Watching {
    watch: Watch,
}

impl Watching {
    fn new(server: &Unsealed) -> Self {
        Self { watch: server.ledger.watch() }
    }

    /// Waits until something happened, and at least for `pace`; gives what moved meanwhile.
    async fn next(&mut self, pace: Duration) -> Result<Due, Stopped> {
        let until = Instant::now() + pace;
        let (mut due, mut all) = (BTreeSet::new(), false);
        loop {
            let something = all || !due.is_empty();
            tokio::select! {
                () = sleep_until(until), if something => break,
                moved = self.watch.next() => match moved? {
                    Moved::Nodes(ids) => due.extend(ids),
                    Moved::Anything => all = true,
                },
            }
        }
        Ok(if all { Due::All } else { Due::These(due) })
    }
}

/// What the reader was sent last of each node: a digest, since ten thousand views would be 30 MiB.
#[derive(Default)]
struct Sent(BTreeMap<NodeId, [u8; 32]>);

impl Sent {
    /// The view if it differs from the one sent last. A node that is gone, or no longer asked for, is forgotten.
    fn news(&mut self, id: &NodeId, view: Option<Node>) -> Option<Node> {
        let Some(view) = view else {
            self.0.remove(id);
            return None;
        };
        let digest = Sha256::digest(view.encode_to_vec()).into();
        (self.0.insert(id.clone(), digest) != Some(digest)).then_some(view)
    }

    fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.0.keys().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_view_that_differs_is_news() {
        let (mut sent, id) = (Sent::default(), NodeId::from("n"));
        let node = |phase: &str| Some(Node { phase: phase.into(), ..Node::default() });
        assert!(sent.news(&id, node("Joining")).is_some());
        assert!(sent.news(&id, node("Joining")).is_none());
        assert!(sent.news(&id, node("Ready")).is_some());
        assert!(sent.news(&id, None).is_none() && sent.ids().next().is_none());
        assert!(sent.news(&id, node("Ready")).is_some(), "it came back");
    }
}
