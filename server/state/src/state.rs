//! The state itself and the one way in: [`State::apply`], which only dispatches.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::{
    ClusterId, Command, NodeId, NodeName, Phase, Refusal, Reply, TokenId, Verb, VerbOf,
    bytes::Digest,
    command::Request,
    index::Index,
    limits,
    planted::{Bug, is_planted},
    record::{
        BootstrapToken, BootstrapTokenState, Cluster, Comparison, EnrolmentToken, Errand, ErrandKind, ErrandState,
        Event, Fleet, Node, PhaseEntry, ServerRecord, ServerStanding, ServerToken, StepState,
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
    /// One of Muster's servers, or the data keys it holds.
    Server(u64),
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
#[serde(deny_unknown_fields)]
pub(crate) struct StoredReply {
    pub(crate) verb: String,
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
    /// Muster's own servers by number. Nothing is written while there are none, as before there were any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub servers: BTreeMap<u64, ServerRecord>,
    /// The highest number that a server ever had; none is used twice.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub last_server: u64,
    /// Tokens for servers that ask to join, by public id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub server_tokens: BTreeMap<TokenId, ServerToken>,
    /// What voters said of their states, by the last entry of each window. Nothing is written while there is none, as before
    /// they were compared.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub comparisons: BTreeMap<u64, Comparison>,
    /// The latest events, oldest first.
    pub events: VecDeque<Event>,
    /// Sequence of the last event.
    pub last_event: u64,
    pub(crate) replies: BTreeMap<String, StoredReply>,
    /// The same keys by age, rebuilt from `replies`.
    #[serde(skip)]
    pub(crate) replies_by_age: BTreeSet<(u64, String)>,
    /// The nodes by what tells one from another, rebuilt from `nodes`.
    #[serde(skip)]
    pub(crate) index: Index,
    #[serde(skip)]
    pub(crate) changes: Vec<Change>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_zero(number: &u64) -> bool {
    *number == 0
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
        let jumped = self.now_ms != 0 && stamp.now_ms > self.now_ms.saturating_add(limits::STAMP_JUMP_MAX_MS);
        // Only an operator's word makes a jump good.
        if jumped && !matches!(command.verb, Verb::AcceptTime(_)) {
            return Err(Refusal::ClockJumped);
        }
        self.now_ms = self.now_ms.max(stamp.now_ms);
        let context = Context { now_ms: self.now_ms };
        match command.request {
            None => command.verb.apply(self, context),
            Some(request) => self.apply_once(request, command.verb, context),
        }
    }

    /// Carries out a verb for a request that may come again: done once, answered alike each time.
    fn apply_once(&mut self, request: Request, verb: Verb, context: Context) -> Result<Reply, Refusal> {
        request.check()?;
        self.forget_replies();
        let key = request.key();
        if let Some(stored) = self.replies.get(&key).filter(|_| !is_planted(Bug::RequestRepeated)) {
            let same = stored.digest == request.digest && stored.verb == verb.name();
            return if same { stored.reply.clone() } else { Err(Refusal::RequestReused(request.id)) };
        }
        let name = verb.name().to_owned();
        let reply = verb.apply(self, context);
        self.replies_by_age.insert((self.now_ms, key.clone()));
        let stored = StoredReply { verb: name, digest: request.digest, at_ms: self.now_ms, reply: reply.clone() };
        self.replies.insert(key, stored);
        reply
    }

    /// Drops replies that are too old, and the oldest of too many.
    fn forget_replies(&mut self) {
        while let Some((at_ms, key)) = self.replies_by_age.first() {
            let is_old = self.now_ms.saturating_sub(*at_ms) >= limits::REPLY_KEPT_MS;
            if !is_old && self.replies.len() < limits::REPLIES_MAX {
                return;
            }
            self.replies.remove(key);
            self.replies_by_age.pop_first();
        }
    }

    /// Rebuilds what is not stored but follows from what is.
    pub(crate) fn reindex(&mut self) {
        self.replies_by_age = self.replies.iter().map(|(key, stored)| (stored.at_ms, key.clone())).collect();
        self.index = Index::of(self.nodes.values());
    }

    /// Adds a node.
    pub(crate) fn put_node(&mut self, node: Node) {
        self.index.add(&node);
        self.nodes.insert(node.id.clone(), node);
    }

    /// Takes a node away.
    pub(crate) fn take_node(&mut self, id: &NodeId) -> Option<Node> {
        let node = self.nodes.remove(id)?;
        self.index.remove(&node);
        Some(node)
    }

    /// Changes what a node is known by: its keys, its standing, what it claims.
    pub(crate) fn change_node<T>(&mut self, id: &NodeId, change: impl FnOnce(&mut Node) -> T) -> Result<T, Refusal> {
        let node = self.nodes.get_mut(id).ok_or_else(|| Refusal::not_found("node", id))?;
        self.index.remove(node);
        let done = change(node);
        self.index.add(node);
        Ok(done)
    }

    /// The node of that name in that cluster, without a walk through all of them.
    pub fn node_named(&self, cluster: &ClusterId, name: &NodeName) -> Option<&Node> {
        self.nodes.get(self.index.by_name(cluster, name)?)
    }

    /// Carries out a verb outside of a command; for tests. Whom it would wake is forgotten.
    pub fn apply_verb<V: VerbOf>(&mut self, now_ms: u64, verb: V) -> Result<V::Reply, Refusal> {
        self.now_ms = self.now_ms.max(now_ms);
        let reply = verb.apply(self, Context { now_ms: self.now_ms });
        self.changes.clear();
        reply
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

    /// The node that is, or is about to be, known by that key.
    pub fn node_by_key(&self, key: &Digest) -> Option<&Node> {
        self.nodes.values().find(|node| node.owns_key(key))
    }

    /// A control plane that has joined and can do errands: the one that left fewest undone of late, then the first by id.
    pub fn custodian<'a>(&'a self, cluster: &'a ClusterId) -> Option<&'a Node> {
        self.custodians(cluster).min_by_key(|node| (node.missed_errands, &node.id))
    }

    /// All control planes of a cluster that can do errands.
    pub fn custodians<'a>(&'a self, cluster: &'a ClusterId) -> impl Iterator<Item = &'a Node> {
        let control_planes = self.index.control_planes(cluster).filter_map(|id| self.nodes.get(id));
        control_planes.filter(|node| node.locked.is_none() && node.is_proven() && node.has_joined())
    }

    /// The errand that stands in the way of opening this one for that custodian, if any: one of the same things that
    /// is under way, or that failed a moment ago. Time passes without commands, so it is the caller's.
    pub fn errand_in_the_way(
        &self,
        cluster: &ClusterId,
        kind: &ErrandKind,
        custodian: &NodeId,
        now_ms: u64,
    ) -> Option<&Errand> {
        self.errands.values().filter(|errand| errand.cluster == *cluster).find(|errand| match errand.state {
            ErrandState::Open => errand.kind.overlaps(kind) && !Self::may_take_over(errand, custodian, now_ms),
            ErrandState::Failed => errand.kind.overlaps(kind) && now_ms < errand.retry_at_ms,
            ErrandState::Done => false,
        })
    }

    /// Its custodian has had its time, and this one is another.
    fn may_take_over(errand: &Errand, custodian: &NodeId, now_ms: u64) -> bool {
        let is_overdue = now_ms.saturating_sub(errand.created_ms) >= errand.kind.patience_ms();
        errand.custodian != *custodian && is_overdue
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
        let (reason, server) = (reason.into(), None);
        self.events.push_back(Event { sequence, at_ms, warning, reason, message, cluster, node, server });
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
        if let Some(view) = self.nodes.get(id).map(|node| self.whereabouts(node)) {
            self.show(id, view);
        }
    }

    /// Recomputes all nodes of a cluster and wakes those that are told something new by it. Not the others: ten
    /// thousand streams must not wake because one node got further.
    pub(crate) fn refresh_cluster(&mut self, id: &ClusterId) {
        self.changes.push(Change::Cluster(id.clone()));
        let moved: Vec<_> = self
            .nodes_of(id)
            .map(|node| (node, self.whereabouts(node)))
            .filter(|(node, (phase, message))| node.phase != *phase || node.message != *message)
            .map(|(node, view)| (node.id.clone(), view))
            .collect();
        moved.into_iter().for_each(|(id, view)| self.show(&id, view));
    }

    /// Recomputes and wakes all nodes of a cluster: for what every instruction holds.
    pub(crate) fn touch_cluster(&mut self, id: &ClusterId) {
        self.changes.push(Change::Cluster(id.clone()));
        let nodes: Vec<NodeId> = self.nodes_of(id).map(|node| node.id.clone()).collect();
        nodes.iter().for_each(|node| self.touch(node));
    }

    fn show(&mut self, id: &NodeId, (phase, message): (Phase, String)) {
        let now_ms = self.now_ms;
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.revision += 1;
        let entered = node.phase != phase || node.timeline.is_empty();
        if entered {
            node.phase = phase;
            node.timeline.push(PhaseEntry { phase, at_ms: now_ms });
            if node.timeline.len() > limits::TIMELINE_MAX {
                node.timeline.remove(0);
            }
        }
        let text = entered.then(|| format!("{phase}: {message}"));
        node.message = message;
        self.changes.push(Change::Node(id.clone()));
        if let Some(text) = text {
            let warning = matches!(phase, Phase::Failed | Phase::Locked | Phase::Denied);
            self.node_event(warning, "PhaseChanged", text, id);
        }
    }

    /// Gives a server another standing.
    pub(crate) fn set_standing(&mut self, server: u64, standing: ServerStanding, context: Context) {
        if let Some(server) = self.servers.get_mut(&server) {
            server.standing = standing;
            server.since_ms = context.now_ms;
        }
    }

    /// Marks a bootstrap token as no longer needed; a custodian deletes it if the cluster knows it.
    pub(crate) fn end_bootstrap_token(&mut self, id: &TokenId) {
        if let Some(token) = self.bootstrap_tokens.get_mut(id) {
            let shown = token.differs.take().and(token.purpose.node().cloned());
            token.state = match token.state {
                // A custodian may be applying it right now: only a deletion that follows is sure.
                BootstrapTokenState::Minted | BootstrapTokenState::Present => BootstrapTokenState::Ending,
                ended @ (BootstrapTokenState::Ending | BootstrapTokenState::Deleted) => ended,
            };
            self.changes.push(Change::Other);
            // What its node waits for was said of this token.
            shown.iter().for_each(|node| self.touch(node));
        }
    }

    /// A step of the current attempt runs or waits, as opposed to done or failed.
    pub fn is_under_way(node: &Node) -> bool {
        node.steps.iter().any(|step| matches!(step.state, StepState::Running | StepState::Waiting))
    }
}
