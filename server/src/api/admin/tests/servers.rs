//! Muster's own servers, as an operator asks for them.

use muster_proto::admin::v1::{
    ApproveServerRequest, CreateServerTokenRequest, ListServersRequest, ListTokensRequest, RemoveServerRequest,
    RevokeTokenRequest, ServerList, ServerRequest, TakeSnapshotRequest, TransferLeaderRequest,
    admin_service_server::AdminService as _,
};
use muster_state::{
    Bytes, Digest, TokenId,
    command::{RecordServer, RequestServer},
    record::ServerUrls,
};
use tonic::Code;

use super::harness::{Served, word};

const KEY: [u8; 32] = [2; 32];

/// Server 1 has registered, server 2 has asked with a token that an operator made.
async fn served() -> Served {
    let served = Served::start().await;
    let founder = RecordServer {
        server: 1,
        key: Digest([1; 32]),
        sealing_key: Bytes(vec![1; 32]),
        address: "10.0.0.1:9446".into(),
        urls: ServerUrls::default(),
        version: "0.2.0".into(),
        generation: 1,
    };
    served.server().ledger.propose(founder).await.unwrap();
    let token = create_token("r-token", "abcd1234");
    let made = served.admin.create_server_token(served.ask(token)).await.unwrap().into_inner();
    assert_eq!((made.kind.as_str(), made.state.as_str(), made.uses_left), ("server", "Live", 1));
    let request = RequestServer {
        token: Some((TokenId::from("abcd1234"), Digest([9; 32]))),
        key: Digest(KEY),
        csr: Bytes(vec![1]),
        sealing_key: Bytes(vec![2; 32]),
        address: "10.0.0.2:9446".into(),
        urls: ServerUrls::default(),
        version: "0.2.0".into(),
        from: "192.0.2.7".into(),
    };
    assert_eq!(served.server().ledger.propose(request).await.unwrap().server, 2);
    served
}

fn create_token(request_id: &str, id: &str) -> CreateServerTokenRequest {
    CreateServerTokenRequest { request_id: request_id.into(), id: id.into(), sha256: vec![9; 32], ttl_seconds: 0 }
}

fn of_server(request_id: &str, server: u64) -> ServerRequest {
    ServerRequest { request_id: request_id.into(), server }
}

async fn list(served: &Served, request: ListServersRequest) -> ServerList {
    served.admin.list_servers(served.ask(request)).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_is_listed_approved_and_promoted() {
    let served = served().await;
    let all = list(&served, ListServersRequest::default()).await;
    let states: Vec<&str> = all.items.iter().map(|server| server.state.as_str()).collect();
    assert_eq!((states, all.stale, all.leader_id, all.answered_by), (vec!["Leader", "Pending"], false, 1, 1));
    assert!(all.applied_index > 0 && all.raft_term > 0);
    let fingerprint = Digest(KEY).to_string();
    assert_eq!(all.items[1].next, format!("muster server approve 2 --fingerprint {fingerprint}"));

    let approve = |request_id: &str, key_fingerprint: String| ApproveServerRequest {
        request_id: request_id.into(),
        server: 2,
        key_fingerprint,
    };
    let refused = served.admin.approve_server(served.ask(approve("r1", String::new()))).await.unwrap_err();
    assert!(refused.message().starts_with("key_fingerprint: "), "{refused}");
    let other = Digest([3; 32]).to_string();
    let refused = served.admin.approve_server(served.ask(approve("r2", other))).await.unwrap_err();
    assert_eq!((refused.code(), word(&refused)), (Code::Aborted, "FingerprintDiffers"));
    let refused = served.admin.promote_server(served.ask(of_server("r3", 2))).await.unwrap_err();
    assert_eq!((refused.code(), word(&refused)), (Code::FailedPrecondition, "ServerStanding"));
    let approved = served.admin.approve_server(served.ask(approve("r4", fingerprint))).await.unwrap().into_inner();
    assert_eq!((approved.state.as_str(), approved.wanted.as_str()), ("Approved", "learner"));
    let promoted = served.admin.promote_server(served.ask(of_server("r5", 2))).await.unwrap().into_inner();
    assert_eq!((promoted.role.as_str(), promoted.wanted.as_str()), ("", "voter"));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_is_found_by_its_id_and_a_stale_answer_says_so() {
    let served = served().await;
    let one = list(&served, ListServersRequest { server: 2, stale: true, removed: false }).await;
    assert_eq!((one.items.len(), one.items[0].id, one.stale), (1, 2, true));
    let request = ListServersRequest { server: 9, ..ListServersRequest::default() };
    let refused = served.admin.list_servers(served.ask(request)).await.unwrap_err();
    assert_eq!((refused.code(), word(&refused)), (Code::NotFound, "NotFound"));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_can_be_refused_and_the_last_voter_stays() {
    let served = served().await;
    let remove = |request_id: &str, server: u64, force: bool| RemoveServerRequest {
        request_id: request_id.into(),
        server,
        reason: "not ours".into(),
        force,
    };
    let removed = served.admin.remove_server(served.ask(remove("r1", 2, false))).await.unwrap().into_inner();
    assert_eq!(removed.state, "Removed");
    assert_eq!(list(&served, ListServersRequest::default()).await.items.len(), 1);
    assert_eq!(
        list(&served, ListServersRequest { removed: true, ..ListServersRequest::default() }).await.items.len(),
        2
    );
    let refused = served.admin.remove_server(served.ask(remove("r2", 1, false))).await.unwrap_err();
    assert_eq!((refused.code(), word(&refused)), (Code::FailedPrecondition, "NotNow"));
    let refused = served.admin.remove_server(served.ask(remove("r3", 1, true))).await.unwrap_err();
    assert_eq!((refused.code(), word(&refused)), (Code::FailedPrecondition, "ServerStanding"));
    assert!(refused.message().contains("only voter"), "{refused}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_stays_where_nobody_else_can_lead_and_a_snapshot_holds_all() {
    let served = served().await;
    let transfer = |request_id: &str, from: u64, server: u64| TransferLeaderRequest {
        request_id: request_id.into(),
        server,
        from,
    };
    let refused = served.admin.transfer_leader(served.ask(transfer("r1", 0, 0))).await.unwrap_err();
    assert_eq!((refused.code(), word(&refused)), (Code::FailedPrecondition, "NotNow"));
    let refused = served.admin.transfer_leader(served.ask(transfer("r2", 1, 2))).await.unwrap_err();
    assert_eq!((refused.code(), word(&refused)), (Code::FailedPrecondition, "CannotLead"));
    for (from, to) in [(0, 1), (2, 3)] {
        let done = served.admin.transfer_leader(served.ask(transfer("r3", from, to))).await.unwrap().into_inner();
        assert_eq!(done.leader_id, 1, "it leads, or leadership moved already: nothing is to do");
    }
    let applied = served.server().ledger.status().applied_index.unwrap();
    let request = TakeSnapshotRequest { request_id: "r4".into() };
    let made = served.admin.take_snapshot(served.ask(request)).await.unwrap().into_inner();
    assert_eq!(made.server_id, 1);
    assert!(made.snapshot_index >= applied, "{} < {applied}", made.snapshot_index);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_tokens_are_listed_and_revoked_like_others() {
    let served = served().await;
    served.admin.create_server_token(served.ask(create_token("r1", "wxyz5678"))).await.unwrap();
    let tokens = served.admin.list_tokens(served.ask(ListTokensRequest::default())).await.unwrap().into_inner().items;
    let states: Vec<(&str, &str)> = tokens.iter().map(|token| (token.id.as_str(), token.state.as_str())).collect();
    assert_eq!(states, [("abcd1234", "Spent"), ("wxyz5678", "Live")]);
    let revoke = RevokeTokenRequest { request_id: "r2".into(), id: "wxyz5678".into() };
    served.admin.revoke_token(served.ask(revoke)).await.unwrap();
    let tokens = served.admin.list_tokens(served.ask(ListTokensRequest::default())).await.unwrap().into_inner().items;
    assert_eq!(tokens.len(), 1);
    for bad in [
        create_token("r3", "SHORT"),
        CreateServerTokenRequest { ttl_seconds: 8 * 86_400, ..create_token("r4", "abcd9999") },
    ] {
        let refused = served.admin.create_server_token(served.ask(bad)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    served.stop().await;
}
