//! Questions about Muster's own servers.

use std::collections::BTreeSet;

use crate::{
    Change, Digest, NodeId, Refusal, State, TokenId,
    record::{Attachment, ServerRecord, ServerStanding},
};

impl State {
    /// The server, or the refusal that names it.
    pub fn server(&self, id: u64) -> Result<&ServerRecord, Refusal> {
        self.servers.get(&id).ok_or_else(|| Refusal::not_found("server", id))
    }

    /// The server with that identity key, removed ones included.
    pub fn server_by_key(&self, key: &Digest) -> Option<&ServerRecord> {
        self.servers.values().find(|server| server.key == *key)
    }

    /// Servers of a standing, by id.
    pub fn servers_that_are(&self, standing: ServerStanding) -> impl Iterator<Item = &ServerRecord> {
        self.servers.values().filter(move |server| server.standing == standing)
    }

    /// The server has its copy of the data key of every epoch.
    pub fn holds_data_keys(&self, server: u64) -> bool {
        self.fleet.as_ref().is_some_and(|fleet| fleet.epochs.values().all(|copies| copies.contains_key(&server)))
    }

    /// The server has its copy of some data key.
    pub fn holds_any_data_key(&self, server: u64) -> bool {
        self.fleet.as_ref().is_some_and(|fleet| fleet.epochs.values().any(|copies| copies.contains_key(&server)))
    }

    /// Who has to get the data key of a new epoch: every voter that has that of the present one. A server that is
    /// about to vote gets all epochs when it is ready to.
    pub fn epoch_holders(&self) -> BTreeSet<u64> {
        let Some(copies) = self.fleet.as_ref().and_then(|fleet| fleet.epochs.get(&fleet.epoch)) else {
            return BTreeSet::new();
        };
        let votes = |id: &u64| self.servers.get(id).is_some_and(|server| server.standing == ServerStanding::Voter);
        copies.keys().copied().filter(votes).collect()
    }

    /// A server that is gone knows the data key in use: a new epoch is due.
    pub fn is_epoch_due(&self) -> bool {
        let epoch = self.fleet.as_ref().map_or(u32::MAX, |fleet| fleet.epoch);
        self.servers.values().any(|server| server.standing.is_removed() && server.knew_epoch >= epoch)
    }

    /// Adds an event about a server.
    pub(crate) fn server_event(&mut self, warning: bool, reason: &str, message: String, server: u64) {
        self.event(warning, reason, message, None, None);
        if let Some(event) = self.events.back_mut() {
            event.server = Some(server);
        }
    }

    /// A server has no streams of starts before `start` any more.
    pub(crate) fn forget_streams(&mut self, server: u64, start: u64) {
        let is_gone = |at: &Attachment| at.server == server && at.start < start;
        let gone: Vec<NodeId> = self
            .nodes
            .values()
            .filter(|node| node.attached.as_ref().is_some_and(is_gone))
            .map(|node| node.id.clone())
            .collect();
        for id in gone {
            if let Some(node) = self.nodes.get_mut(&id) {
                node.attached = None;
            }
            self.changes.push(Change::Node(id));
        }
    }

    /// A token of whatever kind has that id: they share one name space, so that `muster token revoke` takes any.
    pub(crate) fn is_token_id_taken(&self, id: &TokenId) -> bool {
        self.server_tokens.contains_key(id)
            || self.enrolment_tokens.contains_key(id)
            || self.bootstrap_tokens.contains_key(id)
    }

    /// A number that no server ever had. The founder's is known from the data key it wrapped for itself, even before
    /// it registers.
    pub(crate) fn unused_server_id(&self) -> u64 {
        let founders = self.fleet.iter().flat_map(|fleet| fleet.epochs.values()).flat_map(|copies| copies.keys());
        founders.copied().fold(self.last_server, u64::max).saturating_add(1)
    }
}
