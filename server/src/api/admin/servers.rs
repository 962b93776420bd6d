//! Muster's own servers: who is one, who may become one, who leads.

use muster_proto::admin::v1::{
    ApproveServerRequest, CreateServerTokenRequest, ListServersRequest, RemoveServerRequest, Server, ServerList,
    ServerRequest, TakeSnapshotRequest, TakeSnapshotResponse, Token, TransferLeaderRequest, TransferLeaderResponse,
};
use muster_state::command::{ApproveServer, PromoteServer, RemoveServer};
use tonic::{Request, Response};

use super::{
    Answer,
    call::{changing, reading},
};
use crate::{
    api::{
        leader::Leader,
        status::{of_operation, of_propose, of_read},
        wire::{
            node::parse_fingerprint,
            server::{self as wire, Which},
            token,
        },
    },
    clock::now_ms,
    ledger::Status,
    operations::{OperationError, Unsealed, remove_server, take_snapshot, transfer_leader},
};

pub(super) async fn list(
    server: &Unsealed,
    leader: &Leader,
    request: Request<ListServersRequest>,
) -> Answer<ServerList> {
    let ListServersRequest { server: id, stale, removed } = reading(request)?;
    let which = match (id, removed) {
        (0, false) => Which::Present,
        (0, true) => Which::All,
        (id, _) => Which::One(id),
    };
    let ledger = &server.ledger;
    let found = if stale {
        let own = ledger.status();
        ledger.read(|state| wire::list(state, &own, &own, which, true))
    } else {
        // If the leader does not say how the group is doing, what this server knows is no lie: it is less.
        let seen = leader.view().await.unwrap_or_else(|_| ledger.status());
        let found = ledger.linearizable_read(|state| wire::list(state, &ledger.status(), &seen, which, false)).await;
        found.map_err(|error| of_read(&error))?
    };
    if id != 0 && found.items.is_empty() {
        let why = format!("there is no server {id}; see `muster server list`");
        return Err(of_operation(OperationError::NotFound(why)));
    }
    Ok(Response::new(found))
}

pub(super) async fn create_token(server: &Unsealed, request: Request<CreateServerTokenRequest>) -> Answer<Token> {
    let (request, body) = changing(server, request)?;
    let verb = token::parse_create_server(body).map_err(of_operation)?;
    let id = verb.id.clone();
    server.ledger.propose_for(request, verb).await.map_err(of_propose)?;
    let made = server.ledger.read(|state| state.server_tokens.get(&id).map(|made| token::server(made, now_ms())));
    Ok(Response::new(made.unwrap_or_else(|| Token { id: id.to_string(), ..Token::default() })))
}

pub(super) async fn approve(server: &Unsealed, request: Request<ApproveServerRequest>) -> Answer<Server> {
    let (request, ApproveServerRequest { request_id: _, server: id, key_fingerprint }) = changing(server, request)?;
    if key_fingerprint.is_empty() {
        let problem = "is needed: compare what `muster server list -o wide` shows with the server's own console, and \
                       send that";
        return Err(of_operation(OperationError::invalid("key_fingerprint", problem)));
    }
    let fingerprint = parse_fingerprint("key_fingerprint", &key_fingerprint).map_err(of_operation)?;
    server.ledger.propose_for(request, ApproveServer { server: id, fingerprint }).await.map_err(of_propose)?;
    Ok(Response::new(shown(server, id)))
}

pub(super) async fn promote(server: &Unsealed, request: Request<ServerRequest>) -> Answer<Server> {
    let (request, ServerRequest { request_id: _, server: id }) = changing(server, request)?;
    server.ledger.propose_for(request, PromoteServer { server: id }).await.map_err(of_propose)?;
    Ok(Response::new(shown(server, id)))
}

pub(super) async fn remove(
    server: &Unsealed,
    leader: &Leader,
    request: Request<RemoveServerRequest>,
) -> Answer<Server> {
    let (request, RemoveServerRequest { request_id: _, server: id, reason, force }) = changing(server, request)?;
    let verb = RemoveServer { server: id, force, reason };
    // By force, it does not matter who answers, and the leader need not be asked.
    let seen =
        if force { server.ledger.status() } else { leader.view().await.map_err(|why| of_operation(why.into()))? };
    remove_server::run(server, &seen, request, verb).await.map_err(of_operation)?;
    Ok(Response::new(shown(server, id)))
}

pub(super) async fn transfer(
    server: &Unsealed,
    leader: &Leader,
    request: Request<TransferLeaderRequest>,
) -> Answer<TransferLeaderResponse> {
    let (_, TransferLeaderRequest { request_id: _, server: to, from }) = changing(server, request)?;
    let some = |id: u64| (id != 0).then_some(id);
    let done = |status: Status| {
        let leader_id = status.leader.unwrap_or_default();
        Ok(Response::new(TransferLeaderResponse { leader_id, raft_term: status.term }))
    };
    // By the leader's word: this server may not have heard yet of the last change.
    let seen = leader.view().await.map_err(|why| of_operation(why.into()))?;
    if transfer_leader::is_done(&seen, some(from), some(to)) {
        return done(seen);
    }
    let to = server.ledger.read(|state| transfer_leader::choose(state, &seen, some(to))).map_err(of_operation)?;
    leader.hand_over(to).await.map_err(of_operation)?;
    // This server may not have heard of it yet.
    done(Status { leader: Some(to), term: server.ledger.status().term.max(seen.term + 1), ..seen })
}

pub(super) async fn snapshot(server: &Unsealed, request: Request<TakeSnapshotRequest>) -> Answer<TakeSnapshotResponse> {
    changing(server, request)?;
    let snapshot_index = take_snapshot::run(server).await.map_err(of_operation)?;
    Ok(Response::new(TakeSnapshotResponse { server_id: server.ledger.status().id, snapshot_index }))
}

/// The server as it is now.
fn shown(server: &Unsealed, id: u64) -> Server {
    server.ledger.read(|state| wire::render(state, &server.ledger.status(), id))
}
