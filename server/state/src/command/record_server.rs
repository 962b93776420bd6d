use serde::{Deserialize, Serialize};

use super::request_server::{check_places, check_sealing_key};
use crate::{
    Bytes, Digest, Refusal, State, limits,
    record::{ServerRecord, ServerStanding, ServerUrls},
    state::{Change, Context},
};

/// A member says at its start where it is reached and how often its data directory was opened. The founder registers
/// itself so. A data directory that was put back to an earlier time is refused here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordServer {
    /// The server.
    pub server: u64,
    /// SHA-256 of its identity key's SPKI.
    pub key: Digest,
    /// HPKE public key to which data keys are sealed.
    pub sealing_key: Bytes,
    /// `host:port` of its peer listener.
    pub address: String,
    /// Its other listeners.
    pub urls: ServerUrls,
    /// Version of its program.
    pub version: String,
    /// How often its data directory was opened.
    pub generation: u64,
}

impl RecordServer {
    pub(super) fn apply(mut self, state: &mut State, context: Context) -> Result<(), Refusal> {
        check_sealing_key(&self.sealing_key)?;
        check_places(&self.address, &self.urls)?;
        self.version = limits::clip_to(&self.version, limits::CLAIM_MAX);
        match state.servers.get(&self.server) {
            Some(known) => self.check_known(known)?,
            None => self.register_founder(state, context)?,
        }
        let Some(server) = state.servers.get_mut(&self.server) else {
            return Err(Refusal::not_found("server", self.server));
        };
        let has_started = server.generation != self.generation;
        let before = server.clone();
        server.key = self.key;
        server.sealing_key = self.sealing_key;
        server.address = self.address;
        server.urls = self.urls;
        server.version = self.version;
        server.generation = self.generation;
        // A start that is told twice wakes nobody.
        if *server == before {
            return Ok(());
        }
        server.seen_ms = context.now_ms;
        if has_started {
            state.forget_streams(self.server, self.generation);
            let Some(server) = state.servers.get(&self.server) else {
                return Err(Refusal::not_found("server", self.server));
            };
            let text = format!("server {} at {} has started, version {}", server.id, server.address, server.version);
            state.server_event(false, "ServerStarted", text, self.server);
        }
        state.changes.push(Change::Server(self.server));
        Ok(())
    }

    fn check_known(&self, known: &ServerRecord) -> Result<(), Refusal> {
        match known.standing {
            ServerStanding::Removed { .. } => return Err(Refusal::ServerRemoved(self.server)),
            ServerStanding::Pending => return Err(Refusal::not_approved(self.server)),
            ServerStanding::Learner | ServerStanding::Voter => {}
        }
        // An operator approved these keys. Only the founder signs for itself and may come with a new identity key; a
        // sealing key, to which data keys are sealed, never changes here for anybody.
        let is_founder = known.token.is_none();
        let is_sealing_key_new = !known.sealing_key.0.is_empty() && known.sealing_key != self.sealing_key;
        if is_sealing_key_new || (known.key != self.key && !is_founder) {
            return Err(Refusal::FingerprintDiffers { server: self.server });
        }
        if self.generation < known.generation {
            let (server, given, current) = (self.server, self.generation, known.generation);
            return Err(Refusal::ServerWentBack { server, given, current });
        }
        Ok(())
    }

    /// The founder is known by the data key it wrapped for itself; nobody else becomes a server without having asked.
    fn register_founder(&self, state: &mut State, context: Context) -> Result<(), Refusal> {
        let id = self.server;
        let epochs = state.fleet.as_ref().map(|fleet| &fleet.epochs);
        let knew_epoch = epochs
            .and_then(|epochs| epochs.iter().rev().find(|(_, copies)| copies.contains_key(&id)))
            .map(|(epoch, _)| *epoch);
        let Some(knew_epoch) = knew_epoch else { return Err(Refusal::not_found("server", id)) };
        let record = ServerRecord {
            id,
            key: self.key,
            csr: Bytes::default(),
            sealing_key: Bytes::default(),
            address: String::new(),
            urls: ServerUrls::default(),
            version: String::new(),
            generation: 0,
            standing: ServerStanding::Voter,
            requested_ms: context.now_ms,
            seen_ms: context.now_ms,
            since_ms: context.now_ms,
            from: String::new(),
            token: None,
            certificate: None,
            knew_epoch,
        };
        state.last_server = state.last_server.max(id);
        state.servers.insert(id, record);
        Ok(())
    }
}
