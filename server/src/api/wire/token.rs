//! Tokens of both kinds: the public part, never the secret part and never the hash.

use muster_proto::admin::v1::{CreateServerTokenRequest, CreateTokenRequest, Token as Wire};
use muster_state::{
    ClusterId, Digest, NodeName, State, TokenId,
    command::{CreateEnrolmentToken, CreateServerToken},
    record::{
        BootstrapToken, BootstrapTokenState, Cluster, EnrolmentToken, LinkCondition, Node, Purpose, Role, ServerToken,
        TokenDifference,
    },
};

use super::{selector, time::timestamp};
use crate::operations::OperationError;

/// Characters of the public part of an enrolment token.
const ID_LENGTH: usize = 8;
/// Lifetime of an enrolment token where none was said: a working day and a night shift.
const TTL_DEFAULT_MS: u64 = 24 * 3600 * 1000;
/// Longest lifetime of an enrolment token: one that is forgotten must end some day.
const TTL_MAX_MS: u64 = 365 * 24 * 3600 * 1000;
/// Lifetime of a server token where none was said: it is made when the server is about to be set up.
const SERVER_TTL_DEFAULT_MS: u64 = 3600 * 1000;
/// Longest lifetime of a server token: a week, for machines that are still on their way.
const SERVER_TTL_MAX_MS: u64 = 7 * 24 * 3600 * 1000;

/// Parses a request for an enrolment token of a cluster.
pub fn parse_create(wire: CreateTokenRequest, cluster: ClusterId) -> Result<CreateEnrolmentToken, OperationError> {
    let CreateTokenRequest { request_id: _, id, sha256, cluster: _, pool, node_name, ttl_seconds, uses, selector } =
        wire;
    let (id, sha256) = parse_public(id, sha256)?;
    let name = |text: &str| NodeName::parse(text).map_err(|err| OperationError::invalid("node_name", err));
    Ok(CreateEnrolmentToken {
        id,
        sha256,
        cluster,
        pool,
        node_name: (!node_name.is_empty()).then(|| name(&node_name)).transpose()?,
        selector: selector::parse("selector", selector)?,
        ttl_ms: parse_ttl(ttl_seconds)?,
        uses: uses.max(1),
    })
}

/// Parses a request for a token with which a server may ask to join.
pub fn parse_create_server(wire: CreateServerTokenRequest) -> Result<CreateServerToken, OperationError> {
    let CreateServerTokenRequest { request_id: _, id, sha256, ttl_seconds } = wire;
    let (id, sha256) = parse_public(id, sha256)?;
    Ok(CreateServerToken { id, sha256, ttl_ms: bounded_ttl(ttl_seconds, SERVER_TTL_DEFAULT_MS, SERVER_TTL_MAX_MS)? })
}

/// What the fleet is told of a token: its public part and its hash.
fn parse_public(id: String, sha256: Vec<u8>) -> Result<(TokenId, Digest), OperationError> {
    let is_id = id.len() == ID_LENGTH && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !is_id {
        return Err(OperationError::invalid("id", format!("must be {ID_LENGTH} characters of a-z and 0-9")));
    }
    let sha256 = sha256.try_into().map_err(|_| {
        OperationError::invalid(
            "sha256",
            "must be the 32 bytes of the SHA-256 of the whole token; never send the token itself",
        )
    })?;
    Ok((TokenId(id), Digest(sha256)))
}

/// The lifetime of an enrolment token in milliseconds; 0 for the default.
pub fn parse_ttl(seconds: u64) -> Result<u64, OperationError> {
    bounded_ttl(seconds, TTL_DEFAULT_MS, TTL_MAX_MS)
}

/// A lifetime in milliseconds; 0 for the default, refused beyond the longest.
pub fn bounded_ttl(seconds: u64, default_ms: u64, max_ms: u64) -> Result<u64, OperationError> {
    match seconds.saturating_mul(1000) {
        0 => Ok(default_ms),
        ms if ms <= max_ms => Ok(ms),
        _ => {
            Err(OperationError::invalid("ttl_seconds", format!("is {seconds}; at most {} are allowed", max_ms / 1000)))
        }
    }
}

/// An enrolment token as it is shown.
pub fn enrolment(state: &State, token: &EnrolmentToken, now_ms: u64) -> Wire {
    let spec = state.clusters.get(&token.cluster).map(|cluster| &cluster.spec);
    let role = spec.and_then(|spec| spec.pool(&token.pool)).map(|pool| pool.role);
    let used = u32::try_from(token.used_by.len()).unwrap_or(u32::MAX);
    Wire {
        id: token.id.to_string(),
        cluster: spec.map(|spec| spec.name.clone()).unwrap_or_default(),
        pool: token.pool.clone(),
        role: role.map(|role| role.to_string()).unwrap_or_default(),
        node_name: token.node_name.as_ref().map(ToString::to_string).unwrap_or_default(),
        created: timestamp(token.created_ms),
        expires: timestamp(token.expires_ms),
        uses_left: token.uses.saturating_sub(used),
        uses: token.uses,
        state: format!("{:?}", token.standing(now_ms)),
        kind: "enrolment".into(),
        node_id: String::new(),
        selector: selector::render(&token.selector),
        in_cluster: String::new(),
    }
}

/// A server token as it is shown.
pub fn server(token: &ServerToken, now_ms: u64) -> Wire {
    let state = match token.used_by {
        Some(_) => "Spent",
        None if token.is_live(now_ms) => "Live",
        None => "Expired",
    };
    Wire {
        id: token.id.to_string(),
        created: timestamp(token.created_ms),
        expires: timestamp(token.expires_ms),
        uses_left: u32::from(token.used_by.is_none()),
        uses: 1,
        state: state.into(),
        kind: "server".into(),
        ..Wire::default()
    }
}

/// A bootstrap token as it is shown.
pub fn bootstrap(state: &State, token: &BootstrapToken, now_ms: u64) -> Wire {
    let cluster = state.clusters.get(&token.cluster);
    let node = token.purpose.node().and_then(|id| state.nodes.get(id));
    let place = node.and_then(Node::placement);
    let name = place.map(|place| &place.name).or(token.purpose.line_name());
    Wire {
        id: token.id.to_string(),
        cluster: cluster.map(|cluster| cluster.spec.name.clone()).unwrap_or_default(),
        pool: place.map(|place| place.pool.clone()).unwrap_or_default(),
        role: role_of(token, node).map(|role| role.to_string()).unwrap_or_default(),
        node_name: name.map(ToString::to_string).unwrap_or_default(),
        created: timestamp(token.created_ms),
        expires: timestamp(token.expires_ms),
        uses_left: 0,
        uses: 0,
        state: bootstrap_state(token, now_ms).into(),
        kind: "bootstrap".into(),
        node_id: token.purpose.node().map(ToString::to_string).unwrap_or_default(),
        selector: None,
        in_cluster: in_cluster(cluster, token, now_ms).into(),
    }
}

/// What the cluster itself has of it, as far as a link has seen.
fn in_cluster(cluster: Option<&Cluster>, token: &BootstrapToken, now_ms: u64) -> &'static str {
    let link = cluster.filter(|cluster| !cluster.spec.secrets_by_custodian()).and_then(|cluster| cluster.link.as_ref());
    match (token.differs, link.map(|link| link.condition)) {
        (Some(TokenDifference::Missing), _) => "missing",
        (Some(TokenDifference::Foreign), _) => "foreign",
        (Some(TokenDifference::Unsigned), _) => "unsigned",
        (Some(TokenDifference::Unreadable), _) => "unreadable",
        (Some(TokenDifference::LeftOver) | None, Some(LinkCondition::Connected)) => match token.state {
            BootstrapTokenState::Minted => "not yet",
            // What has run out is deleted by the cluster at that moment, and seen to be gone at the next look.
            BootstrapTokenState::Present if !token.is_live(now_ms) => "ending",
            BootstrapTokenState::Present => "there",
            BootstrapTokenState::Ending => "ending",
            BootstrapTokenState::Deleted => "gone",
        },
        (Some(TokenDifference::LeftOver) | None, Some(_) | None) => "unknown",
    }
}

fn role_of(token: &BootstrapToken, node: Option<&Node>) -> Option<Role> {
    match &token.purpose {
        Purpose::Node(_) => Some(node?.placement()?.role),
        Purpose::JoinCommand(role) | Purpose::NamedJoinCommand(role, _) | Purpose::FileJoinCommand(role, _) => {
            Some(*role)
        }
    }
}

/// A token that has not begun to live has no end yet.
fn bootstrap_state(token: &BootstrapToken, now_ms: u64) -> &'static str {
    let expired = token.expires_ms != 0 && now_ms >= token.expires_ms;
    match token.state {
        BootstrapTokenState::Minted | BootstrapTokenState::Present if expired => "Expired",
        BootstrapTokenState::Minted => "Minted",
        BootstrapTokenState::Present => "Present",
        BootstrapTokenState::Ending => "Ending",
        BootstrapTokenState::Deleted => "Deleted",
    }
}

#[cfg(test)]
mod tests;
