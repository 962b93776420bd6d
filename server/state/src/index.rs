//! What is looked up for every machine that enrols, so that ten thousand that boot at once don't each walk through all
//! the others. Follows from the nodes, is not stored, and is rebuilt with a snapshot.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    ClusterId, Digest, NodeId, NodeName,
    facts::Facts,
    record::{Node, Role, Standing},
};

/// Nodes by what tells one from another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    /// By their key, their next key and those they had.
    keys: BTreeMap<Digest, NodeId>,
    names: BTreeMap<(ClusterId, NodeName), NodeId>,
    /// Who may become custodian, looked for whenever a node waits for one.
    control_planes: BTreeMap<ClusterId, BTreeSet<NodeId>>,
    /// By marks of their hardware, those that were denied excepted.
    marks: BTreeMap<Mark, BTreeSet<NodeId>>,
    /// How many wait for an operator, by the address they came from.
    queue: BTreeMap<String, usize>,
    queued: usize,
}

/// A mark of hardware that no two machines should share, in lower case. The order is that of their weight.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Uuid(String),
    Serial(String, String),
    Mac(String),
}

impl Mark {
    fn of(facts: &Facts) -> impl Iterator<Item = Self> {
        let lower = str::to_ascii_lowercase;
        let has_serial = !facts.serial.is_empty() && !facts.product.is_empty();
        let uuid = (!facts.uuid.is_empty()).then(|| Self::Uuid(lower(&facts.uuid)));
        let serial = has_serial.then(|| Self::Serial(lower(&facts.serial), lower(&facts.product)));
        let macs = facts.macs.iter().filter(|mac| !mac.is_empty());
        uuid.into_iter().chain(serial).chain(macs.map(move |mac| Self::Mac(lower(mac))))
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Uuid(_) => "UUID",
            Self::Serial(..) => "serial number",
            Self::Mac(_) => "MAC address",
        }
    }
}

/// None for a node from a backup: the keys it had are remembered, but whoever shows one is taken for somebody new.
fn keys(node: &Node) -> impl Iterator<Item = Digest> {
    let identity = &node.identity;
    let is_proven = node.is_proven();
    let next = identity.next.as_ref().map(|next| next.key);
    identity.previous.iter().copied().chain(next).chain([identity.key]).filter(move |_| is_proven)
}

impl Index {
    pub(crate) fn of<'a>(nodes: impl Iterator<Item = &'a Node>) -> Self {
        let mut index = Self::default();
        nodes.for_each(|node| index.add(node));
        index
    }

    pub(crate) fn add(&mut self, node: &Node) {
        self.keys.extend(keys(node).map(|key| (key, node.id.clone())));
        match &node.standing {
            Standing::Denied(_) => return,
            Standing::Pending { from, .. } => {
                *self.queue.entry(from.clone()).or_default() += 1;
                self.queued += 1;
            }
            Standing::Admitted(place) => {
                self.names.insert((place.cluster.clone(), place.name.clone()), node.id.clone());
                if place.role == Role::ControlPlane {
                    self.control_planes.entry(place.cluster.clone()).or_default().insert(node.id.clone());
                }
            }
        }
        for mark in Mark::of(&node.facts) {
            self.marks.entry(mark).or_default().insert(node.id.clone());
        }
    }

    pub(crate) fn remove(&mut self, node: &Node) {
        keys(node).for_each(|key| drop(self.keys.remove(&key)));
        match &node.standing {
            Standing::Denied(_) => return,
            Standing::Pending { from, .. } => {
                self.queued = self.queued.saturating_sub(1);
                let count = self.queue.get(from).copied().unwrap_or_default();
                if count > 1 {
                    self.queue.insert(from.clone(), count - 1);
                } else {
                    self.queue.remove(from);
                }
            }
            Standing::Admitted(place) => {
                self.names.remove(&(place.cluster.clone(), place.name.clone()));
                if let Some(of_cluster) = self.control_planes.get_mut(&place.cluster) {
                    of_cluster.remove(&node.id);
                    if of_cluster.is_empty() {
                        self.control_planes.remove(&place.cluster);
                    }
                }
            }
        }
        for mark in Mark::of(&node.facts) {
            let Some(nodes) = self.marks.get_mut(&mark) else { continue };
            nodes.remove(&node.id);
            if nodes.is_empty() {
                self.marks.remove(&mark);
            }
        }
    }

    /// The node that has, is about to have, or had that key.
    pub(crate) fn by_key(&self, key: &Digest) -> Option<&NodeId> {
        self.keys.get(key)
    }

    /// The node of that name in that cluster.
    pub(crate) fn by_name(&self, cluster: &ClusterId, name: &NodeName) -> Option<&NodeId> {
        self.names.get(&(cluster.clone(), name.clone()))
    }

    /// The control planes of that cluster, by id.
    pub(crate) fn control_planes(&self, cluster: &ClusterId) -> impl Iterator<Item = &NodeId> {
        self.control_planes.get(cluster).into_iter().flatten()
    }

    /// Other nodes of the same hardware, by id: which, and what of it is the same.
    pub(crate) fn twins<'a>(&'a self, facts: &Facts, id: &NodeId) -> BTreeMap<&'a NodeId, &'static str> {
        let mut twins = BTreeMap::new();
        for mark in Mark::of(facts) {
            for twin in self.marks.get(&mark).into_iter().flatten().filter(|twin| *twin != id) {
                twins.entry(twin).or_insert(mark.word());
            }
        }
        twins
    }

    /// How many machines wait for an operator: in all, and from that address.
    pub(crate) fn queued(&self, from: &str) -> (usize, usize) {
        (self.queued, self.queue.get(from).copied().unwrap_or_default())
    }
}
