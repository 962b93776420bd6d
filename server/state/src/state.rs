//! The state itself and the one way in: [`State::apply`], which only dispatches.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::{
    ClusterId, Command, NodeId, NodeName, Phase, Refusal, Reply, TokenId, VerbOf,
    bytes::Digest,
    limits,
    phase::Phase as P,
    record::{
        BootstrapToken, BootstrapTokenState, Cluster, EnrolmentToken, Errand, ErrandState, Event, Fleet, Node,
        PermitKind, PhaseEntry, Role, Standing, StepState,
    },
};

/// When a command was proposed. Set in one place, by the proposing leader; time never goes back in the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
}

/// What a command changed, so that exactly the streams concerned wake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// What a node is told, or what is shown of it.
    Node(NodeId),
    /// A cluster's record.
    Cluster(ClusterId),
    /// An event was added.
    Event(u64),
    /// Tokens, permits, the fleet: something for the conductor to look at.
    Other,
}

/// The outcome of one command.
#[derive(Debug)]
pub struct Applied {
    /// For whoever proposed it.
    pub reply: Result<Reply, Refusal>,
    /// For everybody else.
    pub changes: Vec<Change>,
}

/// A stored reply, so that a retry is answered once and done once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredReply {
    pub(crate) digest: Digest,
    pub(crate) at_ms: u64,
    pub(crate) reply: Result<Reply, Refusal>,
}

/// All that is replicated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The latest stamp seen. Never goes back.
    pub now_ms: u64,
    /// The installation, once founded.
    pub fleet: Option<Fleet>,
    /// Clusters by id.
    pub clusters: BTreeMap<ClusterId, Cluster>,
    /// Machines by id.
    pub nodes: BTreeMap<NodeId, Node>,
    /// Enrolment tokens by public id.
    pub enrolment_tokens: BTreeMap<TokenId, EnrolmentToken>,
    /// Bootstrap tokens by public id.
    pub bootstrap_tokens: BTreeMap<TokenId, BootstrapToken>,
    /// Work for custodians by number.
    pub errands: BTreeMap<u64, Errand>,
    /// Number of the last errand.
    pub last_errand: u64,
    /// The latest events, oldest first.
    pub events: VecDeque<Event>,
    /// Sequence of the last event.
    pub last_event: u64,
    pub(crate) replies: BTreeMap<String, StoredReply>,
    #[serde(skip)]
    pub(crate) changes: Vec<Change>,
}

/// What a verb may know besides its own input.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The state's time while the verb runs.
    pub now_ms: u64,
}

impl State {
    /// Carries out one committed command.
    pub fn apply(&mut self, stamp: Stamp, command: Command) -> Applied {
        let reply = self.apply_stamped(stamp, command);
        Applied { reply, changes: std::mem::take(&mut self.changes) }
    }

    fn apply_stamped(&mut self, stamp: Stamp, command: Command) -> Result<Reply, Refusal> {
        if self.now_ms != 0 && stamp.now_ms > self.now_ms.saturating_add(limits::STAMP_JUMP_MAX_MS) {
            return Err(Refusal::ClockJumped);
        }
        self.now_ms = self.now_ms.max(stamp.now_ms);
        let context = Context { now_ms: self.now_ms };
        let Some(request) = command.request else { return command.verb.apply(self, context) };
        let key = request.key();
        if let Some(stored) = self.replies.get(&key) {
            let same = stored.digest == request.digest;
            return if same { stored.reply.clone() } else { Err(Refusal::RequestReused(request.id)) };
        }
        let reply = command.verb.apply(self, context);
        self.remember(key, request.digest, reply.clone());
        reply
    }

    fn remember(&mut self, key: String, digest: Digest, reply: Result<Reply, Refusal>) {
        let now_ms = self.now_ms;
        self.replies.retain(|_, stored| now_ms.saturating_sub(stored.at_ms) < limits::REPLY_KEPT_MS);
        if self.replies.len() >= limits::REPLIES_MAX {
            let oldest =
                self.replies.iter().min_by_key(|(key, stored)| (stored.at_ms, *key)).map(|(key, _)| key.clone());
            oldest.map(|key| self.replies.remove(&key));
        }
        self.replies.insert(key, StoredReply { digest, at_ms: now_ms, reply });
    }

    /// Carries out a verb outside of a command; for tests and for verbs made of others.
    pub fn apply_verb<V: VerbOf>(&mut self, now_ms: u64, verb: V) -> Result<V::Reply, Refusal> {
        self.now_ms = self.now_ms.max(now_ms);
        verb.apply(self, Context { now_ms: self.now_ms })
    }

    /// The cluster, or the refusal that names it.
    pub fn cluster(&self, id: &ClusterId) -> Result<&Cluster, Refusal> {
        self.clusters.get(id).ok_or_else(|| Refusal::not_found("cluster", id))
    }

    /// The cluster of that name.
    pub fn cluster_named(&self, name: &str) -> Option<&Cluster> {
        self.clusters.values().find(|cluster| cluster.spec.name == name)
    }

    /// The node, or the refusal that names it.
    pub fn node(&self, id: &NodeId) -> Result<&Node, Refusal> {
        self.nodes.get(id).ok_or_else(|| Refusal::not_found("node", id))
    }

    /// Nodes that belong to a cluster.
    pub fn nodes_of<'a>(&'a self, cluster: &'a ClusterId) -> impl Iterator<Item = &'a Node> {
        self.nodes.values().filter(move |node| node.placement().is_some_and(|place| place.cluster == *cluster))
    }

    /// The node of that name in that cluster.
    pub fn node_named<'a>(&'a self, cluster: &'a ClusterId, name: &NodeName) -> Option<&'a Node> {
        self.nodes_of(cluster).find(|node| node.placement().is_some_and(|place| place.name == *name))
    }

    /// The node that is, or is about to be, known by that key.
    pub fn node_by_key(&self, key: &Digest) -> Option<&Node> {
        self.nodes.values().find(|node| node.owns_key(key))
    }

    /// A control plane that has joined and can do errands: the first by id.
    pub fn custodian<'a>(&'a self, cluster: &'a ClusterId) -> Option<&'a Node> {
        self.nodes_of(cluster).find(|node| {
            node.locked.is_none()
                && node.has_joined()
                && node.placement().is_some_and(|place| place.role == Role::ControlPlane)
        })
    }

    /// Errands a node still has to do.
    pub fn open_errands<'a>(&'a self, node: &'a NodeId) -> impl Iterator<Item = &'a Errand> {
        self.errands.values().filter(move |errand| errand.custodian == *node && errand.state == ErrandState::Open)
    }

    /// The node holds the permit its step needs, or its step needs none.
    pub fn may_run(&self, node: &Node, verb: crate::record::Verb) -> bool {
        let Some(kind) = verb.permit() else { return true };
        let Some(cluster) = node.placement().and_then(|place| self.clusters.get(&place.cluster)) else { return false };
        let permit = cluster.permit(kind);
        permit.holder.as_ref() == Some(&node.id) && permit.attempt == node.attempt
    }

    /// Adds an event.
    pub(crate) fn event(
        &mut self,
        warning: bool,
        reason: &str,
        message: String,
        cluster: Option<ClusterId>,
        node: Option<NodeId>,
    ) {
        self.last_event += 1;
        let (sequence, at_ms) = (self.last_event, self.now_ms);
        let message = limits::clip(&message);
        self.events.push_back(Event { sequence, at_ms, warning, reason: reason.into(), message, cluster, node });
        while self.events.len() > limits::EVENTS_MAX {
            self.events.pop_front();
        }
        self.changes.push(Change::Event(sequence));
    }

    /// Adds an event about a node.
    pub(crate) fn node_event(&mut self, warning: bool, reason: &str, message: String, id: &NodeId) {
        let cluster = self.nodes.get(id).and_then(|node| node.placement().map(|place| place.cluster.clone()));
        self.event(warning, reason, message, cluster, Some(id.clone()));
    }

    /// Recomputes where a node is after something about it changed, and wakes its stream.
    pub(crate) fn touch(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.get(id) else { return };
        let (phase, message) = self.whereabouts(node);
        let now_ms = self.now_ms;
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.revision += 1;
        node.message = limits::clip(&message);
        let entered = (node.phase != phase || node.timeline.is_empty()).then_some(node.phase);
        if entered.is_some() {
            node.phase = phase;
            node.timeline.push(PhaseEntry { phase, at_ms: now_ms });
            if node.timeline.len() > limits::TIMELINE_MAX {
                node.timeline.remove(0);
            }
        }
        self.changes.push(Change::Node(id.clone()));
        if entered.is_some() {
            let warning = matches!(phase, Phase::Failed | Phase::Locked | Phase::Denied);
            self.node_event(warning, "PhaseChanged", format!("{phase}: {message}"), id);
        }
    }

    /// Recomputes all nodes of a cluster.
    pub(crate) fn touch_cluster(&mut self, id: &ClusterId) {
        self.changes.push(Change::Cluster(id.clone()));
        let nodes: Vec<NodeId> = self.nodes_of(id).map(|node| node.id.clone()).collect();
        nodes.iter().for_each(|node| self.touch(node));
    }

    /// Where a node is and why: a pure function of the records.
    fn whereabouts(&self, node: &Node) -> (Phase, String) {
        if let Some(reason) = &node.locked {
            return (P::Locked, format!("{reason}; see `muster describe node`, then `muster node unlock {}`", node.id));
        }
        let place = match &node.standing {
            Standing::Denied(reason) => return (P::Denied, reason.clone()),
            Standing::Pending { .. } => {
                return (
                    P::PendingApproval,
                    format!("compare the fingerprint, then `muster node approve {}`", node.id),
                );
            }
            Standing::Admitted(place) => place,
        };
        if let Some(failure) = node.failure.as_ref().filter(|_| node.steps.is_empty()) {
            let next =
                if failure.retry_at_ms == 0 { "; `muster node retry` starts again" } else { "; retried by itself" };
            return (P::Failed, format!("{} in {}: {}{next}", failure.cause, failure.step, failure.message));
        }
        if node.steps.is_empty() {
            return self.before_instruction(node, &place.cluster);
        }
        let Some(step) = node.current_step() else { return (P::Ready, "joined and Ready".into()) };
        if !self.may_run(node, step.verb) {
            let holder = self.permit_holder(&place.cluster, step.verb.permit());
            return (P::WaitingForEtcdPermit, format!("etcd is joined one at a time; {holder}"));
        }
        let detail = if step.phase.is_empty() { String::new() } else { format!(": {}", step.phase) };
        let observed = node
            .observation
            .as_ref()
            .filter(|seen| !seen.message.is_empty() && step.verb.phase() == P::WaitingForNodeReady);
        let detail = observed.map_or(detail, |seen| format!(": {}", seen.message));
        (step.verb.phase(), format!("step {}{detail}", step.verb.step_id()))
    }

    fn before_instruction(&self, node: &Node, cluster: &ClusterId) -> (Phase, String) {
        let Some(preflight) = &node.preflight else {
            return (P::Approved, "admitted; its agent has not attached yet".into());
        };
        if !node.preflight_passed {
            let fatal = preflight.findings.iter().find(|finding| finding.fatal);
            let why = fatal.map_or("being judged".into(), |finding| format!("{}: {}", finding.check, finding.message));
            return (P::Preflight, why);
        }
        if !self.clusters.get(cluster).is_some_and(|cluster| cluster.initialised) {
            return (P::WaitingForInit, "its cluster has no control plane yet".into());
        }
        if self.custodian(cluster).is_none() {
            return (P::WaitingForCustodian, "no joined control plane with an agent can make its token".into());
        }
        (P::WaitingForCustodian, "a custodian makes its token".into())
    }

    fn permit_holder(&self, cluster: &ClusterId, kind: Option<PermitKind>) -> String {
        let held = kind.and_then(|kind| self.clusters.get(cluster)?.permit(kind).holder);
        held.map_or("it is next".into(), |id| {
            format!("now: {}", self.nodes.get(&id).map_or_else(|| id.to_string(), Node::label))
        })
    }

    /// Marks a bootstrap token as no longer needed; a custodian deletes it if the cluster knows it.
    pub(crate) fn end_bootstrap_token(&mut self, id: &TokenId) {
        if let Some(token) = self.bootstrap_tokens.get_mut(id) {
            token.state = match token.state {
                // A custodian may be applying it right now: only a deletion that follows is sure.
                BootstrapTokenState::Minted | BootstrapTokenState::Present => BootstrapTokenState::Ending,
                ended => ended,
            };
            self.changes.push(Change::Other);
        }
    }

    /// A step of the current attempt runs or waits, as opposed to done or failed.
    pub fn is_under_way(node: &Node) -> bool {
        node.steps.iter().any(|step| matches!(step.state, StepState::Running | StepState::Waiting))
    }
}
