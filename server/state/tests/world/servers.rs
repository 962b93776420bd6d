//! Muster's own servers in the small fleet. The keys of server `n` are numbered `100 + n`.

use std::collections::BTreeMap;

use muster_state::{
    Bytes, Command, Digest, Sealed, State, Verb,
    command::{
        ApproveServer, CompareState, CreateServerToken, HandDataKeys, IssueServerCertificate, PromoteServer,
        RecordServer, RequestServer, ResealSecrets, Resealed, StartEpoch,
    },
    record::{Certificate, SealedSecret, ServerRecord, ServerStanding, ServerUrls, StateSeen},
};

use sha2::{Digest as _, Sha256};

use super::{HOUR_MS, World, digest, shown};

pub(crate) fn server_token(id: &str) -> CreateServerToken {
    CreateServerToken { id: id.into(), sha256: shown(id).1, ttl_ms: HOUR_MS }
}

fn urls(server: u8) -> ServerUrls {
    let url = |port: u16| vec![format!("https://10.0.1.{server}:{port}")];
    ServerUrls { enrolment: url(9443), nodes: url(9444), operators: url(9445) }
}

pub(crate) fn request_server(server: u8, token: Option<&str>) -> RequestServer {
    RequestServer {
        token: token.map(shown),
        key: digest(100 + server),
        csr: Bytes(vec![server]),
        sealing_key: Bytes(vec![server; 32]),
        address: format!("10.0.1.{server}:9446"),
        urls: urls(server),
        version: "0.2.0".into(),
        from: format!("10.0.1.{server}"),
    }
}

pub(crate) fn record_server(server: u8) -> RecordServer {
    RecordServer {
        server: server.into(),
        key: digest(100 + server),
        sealing_key: Bytes(vec![server; 32]),
        address: format!("10.0.1.{server}:9446"),
        urls: urls(server),
        version: "0.2.0".into(),
        generation: 1,
    }
}

impl World {
    /// A server that asks with a token of its own; its number must be the next.
    #[track_caller]
    pub(crate) fn applicant(&mut self, server: u8) -> u64 {
        let token = format!("s{server}");
        self.done(server_token(&token));
        let requested = self.done(request_server(server, Some(&token)));
        assert_eq!((requested.server, requested.admitted), (server.into(), false));
        requested.server
    }

    /// The same, approved, with its certificate, and started.
    #[track_caller]
    pub(crate) fn learner(&mut self, server: u8) -> u64 {
        let id = self.applicant(server);
        self.done(ApproveServer { server: id, fingerprint: digest(100 + server) });
        let certificate = certificate(&self.state);
        self.done(IssueServerCertificate { server: id, key: digest(100 + server), certificate });
        self.done(record_server(server));
        id
    }

    /// The same, promoted, with the data keys of all epochs.
    #[track_caller]
    pub(crate) fn voter(&mut self, server: u8) -> u64 {
        let id = self.learner(server);
        self.done(PromoteServer { server: id });
        let hand = hand_over(&self.state, id);
        self.done(hand);
        id
    }
}

fn certificate(state: &State) -> Certificate {
    Certificate { chain: vec![Bytes(vec![9])], not_after_ms: state.now_ms + 86_400_000 }
}

fn copy(server: u64, epoch: u32) -> Bytes {
    Bytes(vec![2, u8::try_from(server % 256).unwrap_or(0), u8::try_from(epoch % 256).unwrap_or(0)])
}

pub(crate) fn hand_over(state: &State, server: u64) -> HandDataKeys {
    let epochs = state.fleet.iter().flat_map(|fleet| fleet.epochs.keys());
    HandDataKeys { server, keys: epochs.map(|epoch| (*epoch, copy(server, *epoch))).collect() }
}

pub(crate) fn compare(server: u64, index: u64, digest: u8) -> CompareState {
    let seen = StateSeen { version: "0.2.0".into(), digest: super::digest(digest) };
    CompareState { server, index, seen }
}

/// Some secrets of older epochs, sealed with the present data key.
pub(crate) fn reseal(state: &State, by: u8) -> ResealSecrets {
    let epoch = state.fleet.as_ref().map_or(1, |fleet| fleet.epoch);
    let old = state.secrets().filter(|(_, secret)| secret.sealed.epoch != epoch);
    let resealed = old.take(usize::from(by % 40)).map(|(name, secret)| Resealed {
        name,
        seen: Digest(Sha256::digest(&secret.sealed.bytes.0).into()),
        secret: SealedSecret { sealed: Sealed { epoch, ..secret.sealed.clone() }, ..secret.clone() },
    });
    ResealSecrets { secrets: resealed.collect() }
}

pub(crate) fn next_epoch(state: &State) -> StartEpoch {
    let epoch = state.fleet.as_ref().map_or(1, |fleet| fleet.epoch + 1);
    let keys: BTreeMap<_, _> = state.epoch_holders().into_iter().map(|server| (server, copy(server, epoch))).collect();
    StartEpoch { epoch, keys }
}

/// What is next for the servers: the leader hands keys over and starts epochs, an approved server gets its certificate.
pub(super) fn next(state: &State) -> Vec<Verb> {
    let founder = state.servers.is_empty().then(|| record_server(1).into());
    let epoch = (state.is_epoch_due() && !state.epoch_holders().is_empty()).then(|| next_epoch(state).into());
    let each = state.servers.values().filter_map(|server| next_for(state, server));
    founder.into_iter().chain(epoch).chain(each).collect()
}

fn next_for(state: &State, server: &ServerRecord) -> Option<Verb> {
    let id = server.id;
    match server.standing {
        ServerStanding::Pending => Some(ApproveServer { server: id, fingerprint: server.key }.into()),
        ServerStanding::Learner | ServerStanding::Voter if server.certificate.is_none() && server.token.is_some() => {
            let certificate = certificate(state);
            Some(IssueServerCertificate { server: id, key: server.key, certificate }.into())
        }
        ServerStanding::Voter if !state.holds_data_keys(id) => Some(hand_over(state, id).into()),
        ServerStanding::Learner | ServerStanding::Voter | ServerStanding::Removed { .. } => None,
    }
}

impl World {
    /// A command on servers that may be refused.
    pub(crate) fn tried(&mut self, verb: impl Into<Verb>) -> bool {
        self.command(Command { request: None, verb: verb.into() }).reply.is_ok()
    }
}
