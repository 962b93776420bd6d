//! Wakes exactly those who wait for a node: ten thousand streams must not wake because one node got further, so nobody who
//! waits for a single node hears of each change himself.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use muster_state::{Change, NodeId, State};
use tokio::sync::Notify;

use super::Stopped;
use crate::consensus::{Changes, Update};

/// A bell for each who waits for a node.
#[derive(Clone, Default)]
pub(super) struct Bells {
    // Held for map operations only, never over an await.
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    /// By node and number: a node's older stream may not be gone yet.
    hung: BTreeMap<(NodeId, u64), Arc<Notify>>,
    last: u64,
    stopped: bool,
}

impl Bells {
    /// Rings for every change until the server stops.
    pub(super) async fn run(self, mut changes: Changes<State>) {
        while let Some(update) = changes.next().await {
            let inner = self.lock();
            match update {
                Update::Changed { changes, .. } => changes.iter().for_each(|change| inner.ring(change)),
                // Changes were missed: anything may have happened to any node.
                Update::Resync => inner.hung.values().for_each(|bell| bell.notify_one()),
            }
        }
        let mut inner = self.lock();
        inner.stopped = true;
        inner.hung.values().for_each(|bell| bell.notify_one());
    }

    /// Watches a node from now on.
    pub(super) fn hang(&self, node: NodeId) -> NodeWatch {
        let bell = Arc::new(Notify::new());
        let mut inner = self.lock();
        inner.last += 1;
        let key = (node, inner.last);
        inner.hung.insert(key.clone(), bell.clone());
        drop(inner);
        NodeWatch { bells: self.clone(), key, bell }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn ring(&self, change: &Change) {
        match change {
            Change::Node(id) => {
                let of_node = self.hung.range((id.clone(), 0)..=(id.clone(), u64::MAX));
                of_node.for_each(|(_, bell)| bell.notify_one());
            }
            // Every node is told where the servers are.
            Change::Server(_) => self.hung.values().for_each(|bell| bell.notify_one()),
            Change::Cluster(_) | Change::Event(_) | Change::Other => {}
        }
    }
}

/// A watch on one node.
pub struct NodeWatch {
    bells: Bells,
    key: (NodeId, u64),
    bell: Arc<Notify>,
}

impl NodeWatch {
    /// Waits until the node may have changed since the last time. Several changes may be told as one.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn changed(&mut self) -> Result<(), Stopped> {
        // A stopping server sets the word before it rings, and no bell is hung after that without one looking here.
        if !self.bells.lock().stopped {
            self.bell.notified().await;
        }
        if self.bells.lock().stopped { Err(Stopped) } else { Ok(()) }
    }
}

impl Drop for NodeWatch {
    fn drop(&mut self) {
        self.bells.lock().hung.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn is_woken(watch: &mut NodeWatch) -> bool {
        timeout(Duration::from_millis(1), watch.changed()).await.is_ok()
    }

    fn ring(bells: &Bells, node: &str) {
        bells.lock().ring(&Change::Node(node.into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_wakes_all_who_wait_for_that_node_and_nobody_else() {
        let bells = Bells::default();
        let mut watches =
            [bells.hang("a".into()), bells.hang("b".into()), bells.hang("b".into()), bells.hang("c".into())];
        ring(&bells, "b");
        let mut woken = Vec::new();
        for watch in &mut watches {
            woken.push(is_woken(watch).await);
        }
        assert_eq!(woken, [false, true, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_moves_wakes_everybody() {
        let bells = Bells::default();
        let mut watches = [bells.hang("a".into()), bells.hang("b".into())];
        bells.lock().ring(&Change::Server(2));
        let [a, b] = &mut watches;
        assert!(is_woken(a).await && is_woken(b).await);
    }

    #[tokio::test(start_paused = true)]
    async fn changes_that_nobody_waited_for_yet_are_told_as_one() {
        let bells = Bells::default();
        let mut watch = bells.hang("a".into());
        ring(&bells, "a");
        ring(&bells, "a");
        assert!(is_woken(&mut watch).await && !is_woken(&mut watch).await);
    }

    #[test]
    fn a_watch_that_is_gone_leaves_nothing_behind() {
        let bells = Bells::default();
        drop((bells.hang("a".into()), bells.hang("a".into())));
        assert!(bells.lock().hung.is_empty());
    }
}
