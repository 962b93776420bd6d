//! Tokens of both kinds, and plain join lines.

use muster_proto::admin::v1::{
    CreateJoinCommandRequest, CreateTokenRequest, JoinCommand, ListTokensRequest, RenewTokenRequest,
    RevokeTokenRequest, Token, TokenList,
};
use muster_state::{
    ClusterId, NodeName, TokenId,
    command::{RenewEnrolmentToken, RevokeToken},
    record::Role,
};
use tonic::{Request, Response};

use super::{
    Answer,
    call::{changing, reading},
    resolve,
};
use crate::{
    api::{
        status::{of_operation, of_propose},
        wire::{cluster::pool, time::timestamp, token},
    },
    clock::now_ms,
    operations::{OperationError, Unsealed, join_command as join},
};

/// How long a join line works where nothing was said.
const JOIN_TTL_DEFAULT_MS: u64 = 2 * 3600 * 1000;
/// Longest life of a join line: kubeadm's own default for tokens. It is known to whoever saw the terminal.
const JOIN_TTL_MAX_MS: u64 = 24 * 3600 * 1000;

pub(super) async fn create(server: &Unsealed, request: Request<CreateTokenRequest>) -> Answer<Token> {
    let (request, body) = changing(server, request)?;
    let cluster = cluster_id(server, &body.cluster).map_err(of_operation)?;
    let verb = token::parse_create(body, cluster).map_err(of_operation)?;
    let id = verb.id.clone();
    server.ledger.propose_for(request, verb).await.map_err(of_propose)?;
    Ok(Response::new(view(server, &id)))
}

pub(super) fn list(server: &Unsealed, request: Request<ListTokensRequest>) -> Answer<TokenList> {
    let ListTokensRequest { cluster } = reading(request)?;
    let cluster = (!cluster.is_empty()).then(|| cluster_id(server, &cluster)).transpose().map_err(of_operation)?;
    let of_cluster = |id: &ClusterId| cluster.as_ref().is_none_or(|cluster| cluster == id);
    let ids: Vec<TokenId> = server.ledger.read(|state| {
        let enrolment = state.enrolment_tokens.values().filter(|token| of_cluster(&token.cluster));
        let bootstrap = state.bootstrap_tokens.values().filter(|token| of_cluster(&token.cluster));
        let tokens = enrolment.map(|token| &token.id).chain(bootstrap.map(|token| &token.id));
        // Those of servers belong to no cluster.
        let servers = state.server_tokens.keys().filter(|_| cluster.is_none());
        tokens.chain(servers).cloned().collect()
    });
    Ok(Response::new(TokenList { items: ids.iter().map(|id| view(server, id)).collect() }))
}

pub(super) async fn revoke(server: &Unsealed, request: Request<RevokeTokenRequest>) -> Answer<Token> {
    let (request, body) = changing(server, request)?;
    let id = TokenId(body.id);
    server.ledger.propose_for(request, RevokeToken { id: id.clone() }).await.map_err(of_propose)?;
    Ok(Response::new(view(server, &id)))
}

pub(super) async fn renew(server: &Unsealed, request: Request<RenewTokenRequest>) -> Answer<Token> {
    let (request, body) = changing(server, request)?;
    let id = TokenId(body.id);
    let ttl_ms = token::parse_ttl(body.ttl_seconds).map_err(of_operation)?;
    let bootstrap = server.ledger.read(|state| state.bootstrap_tokens.contains_key(&id));
    if bootstrap {
        let why = format!(
            "{id} is a bootstrap token: Muster makes a new one when a node needs it; for a machine without an agent, `muster join-command`"
        );
        return Err(of_operation(OperationError::NotNow(why)));
    }
    server.ledger.propose_for(request, RenewEnrolmentToken { id: id.clone(), ttl_ms }).await.map_err(of_propose)?;
    Ok(Response::new(view(server, &id)))
}

/// The line is made anew for a retry: no reply that holds a secret is stored. A retry finds the token of the first.
pub(super) async fn join_command(server: &Unsealed, request: Request<CreateJoinCommandRequest>) -> Answer<JoinCommand> {
    let (request, body) = changing(server, request)?;
    let parsed = cluster_id(server, &body.cluster).and_then(|id| Ok((id, join_order(&body, request.caller)?)));
    let (id, order) = parsed.map_err(of_operation)?;
    let line = join::run(server, &id, order).await.map_err(of_operation)?;
    Ok(Response::new(JoinCommand {
        line: line.text.expose().to_owned(),
        expires: timestamp(line.expires_ms),
        token_id: line.token.to_string(),
        approval: line.approval.word().to_owned(),
    }))
}

fn join_order(body: &CreateJoinCommandRequest, caller: String) -> Result<join::Order, OperationError> {
    let name = |text: &str| NodeName::parse(text).map_err(|err| OperationError::invalid("node_name", err));
    Ok(join::Order {
        role: join_role(&body.role)?,
        node_name: (!body.node_name.is_empty()).then(|| name(&body.node_name)).transpose()?,
        discovery: join_discovery(&body.discovery)?,
        ttl_ms: join_ttl(body.ttl_seconds)?,
        caller,
    })
}

fn join_role(word: &str) -> Result<Role, OperationError> {
    if word.is_empty() { Ok(Role::Worker) } else { pool::role("role", word) }
}

fn join_discovery(word: &str) -> Result<join::Discovery, OperationError> {
    match word {
        "" | "token" => Ok(join::Discovery::Token),
        "https" => Ok(join::Discovery::Https),
        "https-embedded" => Ok(join::Discovery::HttpsEmbedded),
        _ => Err(OperationError::invalid("discovery", format!("{word:?} is none of token, https, https-embedded"))),
    }
}

fn join_ttl(seconds: u64) -> Result<u64, OperationError> {
    token::bounded_ttl(seconds, JOIN_TTL_DEFAULT_MS, JOIN_TTL_MAX_MS)
}

fn cluster_id(server: &Unsealed, text: &str) -> Result<ClusterId, OperationError> {
    server.ledger.read(|state| resolve::cluster(state, "cluster", text).map(|cluster| cluster.id.clone()))
}

/// The token as it is now; its id alone if it is gone. One short read each: there may be a hundred thousand.
fn view(server: &Unsealed, id: &TokenId) -> Token {
    let now_ms = now_ms();
    let found = server.ledger.read(|state| {
        let enrolment = state.enrolment_tokens.get(id).map(|found| token::enrolment(state, found, now_ms));
        let bootstrap = || Some(token::bootstrap(state, state.bootstrap_tokens.get(id)?, now_ms));
        let server = || Some(token::server(state.server_tokens.get(id)?, now_ms));
        enrolment.or_else(bootstrap).or_else(server)
    });
    found.unwrap_or_else(|| Token { id: id.to_string(), ..Token::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_line_is_for_workers_unless_said_otherwise() {
        assert_eq!(join_role("").unwrap(), Role::Worker);
        assert_eq!(join_role("control-plane").unwrap(), Role::ControlPlane);
        assert!(join_role("master").unwrap_err().to_string().contains("control-plane, worker"));
    }

    #[test]
    fn a_join_line_discovers_by_token_unless_said_otherwise() {
        assert_eq!(join_discovery("").unwrap(), join::Discovery::Token);
        assert_eq!(join_discovery("https-embedded").unwrap(), join::Discovery::HttpsEmbedded);
        assert!(join_discovery("http").unwrap_err().to_string().contains("token, https, https-embedded"));
    }

    #[test]
    fn a_join_line_lives_two_hours_and_never_longer_than_a_day() {
        assert_eq!(join_ttl(0).unwrap(), 2 * 3600 * 1000);
        assert_eq!(join_ttl(24 * 3600).unwrap(), 24 * 3600 * 1000);
        for long in [24 * 3600 + 1, u64::MAX] {
            assert!(join_ttl(long).unwrap_err().to_string().starts_with("ttl_seconds: "), "{long}");
        }
    }
}
