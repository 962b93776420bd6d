use serde::{Deserialize, Serialize};

use crate::{
    Bytes, Digest, Refusal, State, TokenId, limits,
    record::{Certificate, ServerRecord, ServerStanding, ServerUrls},
    state::{Change, Context},
};

/// Redeems a server token *and* gives a new server its number, bound to its keys, in one step. The same key again gets
/// the same answer, with or without a token: an interrupted join goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestServer {
    /// Public id of the token and SHA-256 of the whole token.
    pub token: Option<(TokenId, Digest)>,
    /// SHA-256 of the identity key's SPKI.
    pub key: Digest,
    /// PKCS#10, DER; its signature was checked at the edge.
    pub csr: Bytes,
    /// HPKE public key.
    pub sealing_key: Bytes,
    /// `host:port` of its peer listener.
    pub address: String,
    /// Its other listeners.
    pub urls: ServerUrls,
    /// Version of its program.
    pub version: String,
    /// Address it came from.
    pub from: String,
}

/// What the server may be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRequested {
    /// Its number.
    pub server: u64,
    /// An operator has let it in: a certificate may be issued.
    pub admitted: bool,
    /// The stored answer, if its certificate was issued before and has not run out.
    pub certificate: Option<Certificate>,
}

impl RequestServer {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<ServerRequested, Refusal> {
        if self.csr.0.len() > limits::CSR_MAX {
            return Err(Refusal::invalid("csr", format!("is longer than {} bytes", limits::CSR_MAX)));
        }
        check_sealing_key(&self.sealing_key)?;
        check_places(&self.address, &self.urls)?;
        let id = match state.server_by_key(&self.key).map(|server| server.id) {
            Some(id) => self.again(state, context, id)?,
            None => self.first_time(state, context)?,
        };
        let server = state.server(id)?;
        let certificate = server.certificate.clone().filter(|issued| context.now_ms < issued.not_after_ms);
        Ok(ServerRequested { server: id, admitted: server.standing.is_member(), certificate })
    }

    fn again(self, state: &mut State, context: Context, id: u64) -> Result<u64, Refusal> {
        let Some(server) = state.servers.get_mut(&id) else { return Err(Refusal::not_found("server", id)) };
        match server.standing {
            ServerStanding::Removed { .. } => return Err(Refusal::ServerRemoved(id)),
            // Whoever holds the identity key made both; a difference means that half of a data directory was replaced.
            _ if server.sealing_key != self.sealing_key => {
                let problem = "it asked before with another sealing key; remove it and join with new keys".into();
                return Err(Refusal::ServerStanding { server: id, problem });
            }
            // What it runs as is known from itself by now.
            ServerStanding::Learner | ServerStanding::Voter => return Ok(id),
            ServerStanding::Pending => {}
        }
        server.seen_ms = context.now_ms;
        let before = (server.csr.clone(), server.address.clone(), server.urls.clone(), server.version.clone());
        server.csr = self.csr;
        server.address = self.address;
        server.urls = self.urls;
        server.version = limits::clip_to(&self.version, limits::CLAIM_MAX);
        // A server that only asks again wakes nobody.
        if before != (server.csr.clone(), server.address.clone(), server.urls.clone(), server.version.clone()) {
            state.changes.push(Change::Server(id));
        }
        Ok(id)
    }

    fn first_time(self, state: &mut State, context: Context) -> Result<u64, Refusal> {
        let token = self.check_token(state, context)?;
        let waiting = state.servers_that_are(ServerStanding::Pending).count();
        if waiting >= limits::PENDING_SERVERS_MAX {
            let what = "servers that wait for approval".into();
            return Err(Refusal::Full { what, limit: limits::PENDING_SERVERS_MAX as u64 });
        }
        let living = state.servers.values().filter(|server| !server.standing.is_removed()).count();
        if living >= limits::SERVERS_MAX {
            return Err(Refusal::Full { what: "servers".into(), limit: limits::SERVERS_MAX as u64 });
        }
        let id = state.unused_server_id();
        if let Some(token) = state.server_tokens.get_mut(&token) {
            token.used_by = Some(id);
        }
        state.last_server = id;
        let record = self.record(context, id, token);
        let text = format!(
            "server {id} at {} asks to join with key {}; compare it, then `muster server approve {id} --fingerprint …`",
            record.address, record.key
        );
        state.servers.insert(id, record);
        state.server_event(false, "ServerRequested", text, id);
        state.changes.push(Change::Server(id));
        Ok(id)
    }

    fn check_token(&self, state: &State, context: Context) -> Result<TokenId, Refusal> {
        let shown = self.token.as_ref();
        let record = shown.and_then(|(id, sha256)| {
            state.server_tokens.get(id).filter(|token| token.sha256 == *sha256)
        });
        let Some(token) = record else { return Err(Refusal::ServerTokenUnknown) };
        if token.used_by.is_some() {
            return Err(Refusal::ServerTokenSpent(token.id.clone()));
        }
        if context.now_ms >= token.expires_ms {
            return Err(Refusal::ServerTokenExpired(token.id.clone()));
        }
        Ok(token.id.clone())
    }

    fn record(self, context: Context, id: u64, token: TokenId) -> ServerRecord {
        ServerRecord {
            id,
            key: self.key,
            csr: self.csr,
            sealing_key: self.sealing_key,
            address: self.address,
            urls: self.urls,
            version: limits::clip_to(&self.version, limits::CLAIM_MAX),
            generation: 0,
            standing: ServerStanding::Pending,
            requested_ms: context.now_ms,
            seen_ms: context.now_ms,
            since_ms: context.now_ms,
            from: limits::clip_to(&self.from, limits::CLAIM_MAX),
            token: Some(token),
            certificate: None,
            knew_epoch: 0,
        }
    }
}

pub(super) fn check_sealing_key(key: &Bytes) -> Result<(), Refusal> {
    if key.0.len() == limits::SEALING_KEY_BYTES {
        return Ok(());
    }
    Err(Refusal::invalid("sealing key", format!("must be {} bytes", limits::SEALING_KEY_BYTES)))
}

/// What others will be told must be short and printable, and there must be a peer address to dial.
pub(super) fn check_places(address: &str, urls: &ServerUrls) -> Result<(), Refusal> {
    let is_fit = |text: &str| {
        !text.is_empty() && text.len() <= limits::CLAIM_MAX && text.chars().all(|char| char.is_ascii_graphic())
    };
    let has_port = address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    if !is_fit(address) || !has_port {
        return Err(Refusal::invalid("peer address", "must be host:port"));
    }
    let ServerUrls { enrolment, nodes, operators } = urls;
    for (field, urls) in [("enrolment", enrolment), ("nodes", nodes), ("operators", operators)] {
        if urls.len() > limits::SERVER_URLS_MAX || !urls.iter().all(|url| is_fit(url)) {
            let problem = format!("must be at most {} short URLs", limits::SERVER_URLS_MAX);
            return Err(Refusal::invalid(&format!("urls.{field}"), problem));
        }
    }
    Ok(())
}
