//! What Nodes say, into the log: only what Muster's own nodes are concerned by, and only what is new. And labels that no kubelet may
//! set on itself.

use std::{collections::BTreeMap, convert::Infallible};

use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams},
};
use muster_state::{
    ClusterId, NodeId, NodeName,
    command::ObserveNodes,
    limits,
    record::{ApiNode, Node as Record},
};

use super::{
    call::answer,
    follow::{Follower, Listed, Told, follow},
    trouble::Trouble,
};
use crate::{kubeadm::labels, ledger::Ledger};

type Seen = BTreeMap<NodeName, Option<ApiNode>>;

/// Passes on what Nodes say until something goes wrong.
pub(super) async fn watch(
    client: Client,
    ledger: &Ledger,
    cluster: &ClusterId,
    listed: &Listed,
) -> Result<Infallible, Trouble> {
    let api = Api::all(client);
    follow(&api, listed, Nodes { api: &api, ledger, cluster }).await
}

struct Nodes<'a> {
    api: &'a Api<Node>,
    ledger: &'a Ledger,
    cluster: &'a ClusterId,
}

impl Follower<Node> for Nodes<'_> {
    async fn told(&mut self, told: Told<Node>) -> Result<(), Trouble> {
        let bare: Vec<_> = match &told {
            Told::All(nodes) => nodes.iter().filter_map(|node| self.lacks(node)).collect(),
            Told::Changed(node) => self.lacks(node).into_iter().collect(),
            Told::Gone(_) => Vec::new(),
        };
        let (seen, all) = match told {
            Told::All(nodes) => (nodes.iter().filter_map(|node| Some((name(node)?, Some(read(node))))).collect(), true),
            Told::Changed(node) => (name(&node).map(|name| (name, Some(read(&node)))).into_iter().collect(), false),
            Told::Gone(node) => (name(&node).map(|name| (name, None)).into_iter().collect(), false),
        };
        note(self.ledger, self.cluster, seen, all).await?;
        for (node, labels) in bare {
            set(self.api, &node, &labels).await?;
        }
        Ok(())
    }
}

impl Nodes<'_> {
    /// Labels that a Node of Muster's should have, does not, and can't set itself.
    fn lacks(&self, node: &Node) -> Option<(String, BTreeMap<String, String>)> {
        let name = name(node)?;
        let wanted = self.ledger.read(|state| {
            // One that has not been told to join is not the machine that has this name in the cluster.
            let record = state.node_named(self.cluster, &name).filter(|record| !record.steps.is_empty())?;
            let cluster = state.clusters.get(self.cluster)?;
            Some(cluster.spec.pool(&record.placement()?.pool)?.labels.clone())
        })?;
        let is_set = |key: &str, value: &str| node.labels().get(key).is_some_and(|is| is == value);
        let lacks = wanted.into_iter().filter(|(key, value)| !labels::kubelet_may_set(key) && !is_set(key, value));
        let lacks: BTreeMap<String, String> = lacks.collect();
        (!lacks.is_empty()).then(|| (node.name_any(), lacks))
    }
}

async fn set(api: &Api<Node>, name: &str, labels: &BTreeMap<String, String>) -> Result<(), Trouble> {
    let patch = Patch::Merge(serde_json::json!({ "metadata": { "labels": labels } }));
    match answer("labels of a Node", api.patch(name, &PatchParams::default(), &patch)).await {
        Ok(_) | Err(Trouble::Absent | Trouble::Conflict) => Ok(()),
        Err(Trouble::Rejected(why)) => {
            tracing::warn!(node = %name, err = %why, "the API server does not take labels of a Node");
            Ok(())
        }
        Err(other) => Err(other),
    }
}

/// Looks whether the cluster has a Node of the name of a machine that is about to join: the watch tells of those that were there before
/// the machine was known only when something about them changes. An answer may be older than what the watch has told meanwhile, so
/// that whoever found a name taken has to look again.
pub(super) async fn look(client: &Client, ledger: &Ledger, cluster: &ClusterId, id: &NodeId) -> Result<(), Trouble> {
    let name = ledger.read(|state| state.nodes.get(id)?.placement().map(|place| place.name.clone()));
    let Some(name) = name else { return Ok(()) };
    let seen = find(&Api::all(client.clone()), &name).await?;
    note(ledger, cluster, [(name, seen)].into(), false).await
}

/// What the Node of that name says now, if there is one.
pub(super) async fn find(api: &Api<Node>, name: &NodeName) -> Result<Option<ApiNode>, Trouble> {
    match answer("a Node", api.get(name.as_str())).await {
        Ok(node) => Ok(Some(read(&node))),
        Err(Trouble::Absent) => Ok(None),
        Err(other) => Err(other),
    }
}

/// Proposes what differs from what is known. `all`: a node that is not among them is gone.
async fn note(ledger: &Ledger, cluster: &ClusterId, mut seen: Seen, all: bool) -> Result<(), Trouble> {
    let news: Vec<(NodeName, Option<ApiNode>)> = ledger.read(|state| {
        if all {
            let known = state.nodes_of(cluster).filter(|node| node.api.is_some()).filter_map(Record::placement);
            for place in known {
                seen.entry(place.name.clone()).or_insert(None);
            }
        }
        let is_news = |name: &NodeName, now: &Option<ApiNode>| {
            let known = state.node_named(cluster, name);
            known.is_some_and(|node| match &node.api {
                None => now.is_some(),
                Some(before) => before.node != *now,
            })
        };
        seen.into_iter().filter(|(name, now)| is_news(name, now)).collect()
    });
    for part in news.chunks(limits::OBSERVED_MAX) {
        ledger.propose(ObserveNodes { cluster: cluster.clone(), nodes: part.iter().cloned().collect() }).await?;
    }
    Ok(())
}

/// A name that Kubernetes allows and Muster does not is none of a node of Muster's.
fn name(node: &Node) -> Option<NodeName> {
    NodeName::parse(&node.name_any()).ok()
}

fn read(node: &Node) -> ApiNode {
    let status = node.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
    let message = match ready {
        None => "its kubelet has not said anything yet".to_owned(),
        Some(condition) if condition.status == "True" => String::new(),
        Some(condition) => {
            let [reason, text] =
                [&condition.reason, &condition.message].map(|text| text.as_deref().unwrap_or_default());
            format!("{reason}: {text}")
        }
    };
    let clip = |text: &str| limits::clip_to(text, limits::CLAIM_MAX);
    let kubelet_version = status.and_then(|status| status.node_info.as_ref()).map(|info| clip(&info.kubelet_version));
    ApiNode {
        // As the state keeps it, so that the same again is no news.
        uid: clip(&node.uid().unwrap_or_default()),
        ready: ready.is_some_and(|condition| condition.status == "True"),
        message: limits::clip(&message),
        kubelet_version: kubelet_version.unwrap_or_default(),
    }
}
