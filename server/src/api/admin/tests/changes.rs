//! Changes: done once, refused with a reason, and nothing done by a dry run.

use muster_proto::admin::v1::{
    CreateClusterRequest, CreateJoinCommandRequest, CreateTokenRequest, GetStatusRequest, ImportClusterRequest,
    ListClustersRequest, ListNodesRequest, ListPermitsRequest, ListTokensRequest, Node, PkiFile, RenewTokenRequest,
    RevokeTokenRequest, TakeSnapshotRequest, admin_service_server::AdminService as _,
};
use tonic::{Code, Request};

use super::harness::{Served, apply, approval, node_request, spec, word};
use crate::api::fixture::key_of;

const A: &str = "6e0f3a51-0000-4000-8000-000000000001";
const B: &str = "6e0f7777-0000-4000-8000-000000000002";

#[tokio::test(flavor = "multi_thread")]
async fn applying_makes_a_cluster_changes_what_differs_and_leaves_the_rest() {
    let served = Served::start().await;
    let applied = async |id: &str, spec, dry_run| {
        let answer = served.admin.apply_cluster(served.ask(apply(id, spec, dry_run))).await;
        answer.map(|answer| answer.into_inner())
    };
    let dry = applied("r1", spec(), true).await.unwrap();
    assert_eq!((dry.outcome.as_str(), dry.cluster.unwrap().id.as_str()), ("created", ""));
    assert!(served.server().ledger.read(|state| state.clusters.is_empty()), "a dry run made a cluster");

    let made = applied("r2", spec(), false).await.unwrap();
    let cluster = made.cluster.unwrap();
    assert_eq!((made.outcome.as_str(), cluster.ca_pins.len(), cluster.revision), ("created", 1, 1));
    let again = applied("r2", spec(), false).await.unwrap();
    assert_eq!(again.cluster.unwrap().id, cluster.id, "a retry made another cluster");
    assert_eq!(applied("r3", spec(), false).await.unwrap().outcome, "unchanged");

    let mut changed = spec();
    changed.pools[1].count = 5;
    let dry = applied("r4", changed.clone(), true).await.unwrap();
    assert_eq!((dry.outcome.as_str(), dry.cluster.unwrap().revision), ("configured", 1));
    assert_eq!(dry.changes, ["spec.pools[worker].count: 2 → 5"]);
    let configured = applied("r5", changed, false).await.unwrap();
    assert_eq!((configured.outcome.as_str(), configured.cluster.unwrap().revision), ("configured", 2));

    for dry_run in [true, false] {
        let mut frozen = spec();
        frozen.key_algorithm = "RSA-2048".into();
        let refused = applied("r6", frozen, dry_run).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().starts_with("spec.keyAlgorithm: "), "{refused}");
        let mut unsupported = spec();
        unsupported.name = "other".into();
        unsupported.kubernetes_version = "v1.2.3".into();
        let refused = applied("r7", unsupported, dry_run).await.unwrap_err();
        assert!(refused.message().starts_with("spec.kubernetes.version: "), "{refused}");
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_done_once_and_another_body_under_it_is_refused() {
    let served = Served::start().await;
    let create = async |spec| {
        let body = CreateClusterRequest { request_id: "r1".into(), spec: Some(spec) };
        served.admin.create_cluster(served.ask(body)).await.map(|answer| answer.into_inner())
    };
    let first = create(spec()).await.unwrap();
    assert_eq!(create(spec()).await.unwrap().id, first.id);
    let mut other = spec();
    other.name = "other".into();
    let refused = create(other).await.unwrap_err();
    assert_eq!((refused.code(), word(&refused)), (Code::Aborted, "RequestReused"));
    let body = CreateClusterRequest { request_id: String::new(), spec: Some(spec()) };
    let refused = served.admin.create_cluster(served.ask(body)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().starts_with("request_id: is needed"), "{refused}");
    let list = async |cluster: &str| {
        let body = ListClustersRequest { cluster: cluster.into() };
        served.admin.list_clusters(served.ask(body)).await.unwrap().into_inner().items
    };
    assert_eq!(list("").await.len(), 1);
    assert_eq!(list(&first.id[..5]).await[0].id, first.id);
    assert!(list("other").await.is_empty());
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_no_pki_is_refused_and_makes_nothing() {
    let served = Served::start().await;
    let pki = vec![PkiFile { name: "ca.crt".into(), content: b"no certificate".to_vec() }];
    let body = ImportClusterRequest { request_id: "r1".into(), spec: Some(spec()), pki, kubeconfig: String::new() };
    let refused = served.admin.import_cluster(served.ask(body)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().starts_with("pki: "), "{refused}");
    assert!(served.server().ledger.read(|state| state.clusters.is_empty()));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pki_that_is_brought_in_becomes_a_cluster_with_its_pins() {
    let served = Served::start().await;
    let made = crate::pki::ClusterPki::generate(crate::pki::KeyAlgorithm::EcdsaP256, crate::clock::now_ms()).unwrap();
    let content = |file: &crate::pki::PkiFile| match file {
        crate::pki::PkiFile::Public(text) => text.clone().into_bytes(),
        crate::pki::PkiFile::Secret(key) => key.expose().as_bytes().to_vec(),
    };
    let pki = made.files.iter().map(|(name, file)| PkiFile { name: (*name).into(), content: content(file) }).collect();
    let body = ImportClusterRequest { request_id: "r1".into(), spec: Some(spec()), pki, kubeconfig: String::new() };
    let cluster = served.admin.import_cluster(served.ask(body)).await.unwrap().into_inner();
    assert_eq!((cluster.origin.as_str(), cluster.initialised, cluster.ca_pins.len()), ("imported", true, 1));
    let permits =
        served.admin.list_permits(served.ask(ListPermitsRequest::default())).await.unwrap().into_inner().items;
    let kinds: Vec<_> = permits.iter().map(|permit| (permit.cluster.as_str(), permit.kind.as_str())).collect();
    assert_eq!(kinds, [("prod", "init"), ("prod", "etcd-join")]);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_decides_about_exactly_the_machine_that_was_seen() {
    let served = Served::start().await;
    served.admin.apply_cluster(served.ask(apply("r1", spec(), false))).await.unwrap();
    served.enrol(A).await;
    let list = async |node: &str| {
        let body = ListNodesRequest { node: node.into(), ..ListNodesRequest::default() };
        served.admin.list_nodes(served.ask(body)).await.unwrap().into_inner().items
    };
    let seen = list("6e0f").await.remove(0);
    assert_eq!(seen.key_fingerprint, key_of(A).to_string());

    let stale = Node { facts_revision: seen.facts_revision + 1, ..seen.clone() };
    let refused = served.admin.approve_node(served.ask(approval("r2", &stale, "cp-1"))).await.unwrap_err();
    assert_eq!((refused.code(), word(&refused)), (Code::Aborted, "SeenDiffers"));
    let approved = served.admin.approve_node(served.ask(approval("r3", &seen, "cp-1"))).await.unwrap().into_inner();
    assert_eq!(
        (approved.name.as_str(), approved.role.as_str(), approved.assurance.as_str()),
        ("cp-1", "control-plane", "Approved")
    );

    let locked = served.admin.lock_node(served.ask(node_request("r4", "cp-1"))).await.unwrap().into_inner();
    assert!(locked.locked && locked.next == format!("muster node unlock {A}"), "{}", locked.next);
    let unlocked = served.admin.unlock_node(served.ask(node_request("r5", "cp-1"))).await.unwrap().into_inner();
    assert!(!unlocked.locked);
    let refused = served.admin.retry_node(served.ask(node_request("r6", "cp-1"))).await.unwrap_err();
    assert_eq!((refused.code(), word(&refused)), (Code::FailedPrecondition, "WrongPhase"));
    let refused = served.admin.deny_node(served.ask(node_request("r7", "cp-1"))).await.unwrap_err();
    assert_eq!(word(&refused), "WrongPhase");

    served.enrol(B).await;
    let denied = served.admin.deny_node(served.ask(node_request("r8", B))).await.unwrap().into_inner();
    assert_eq!((denied.phase.as_str(), denied.message.as_str()), ("Denied", "a test"));
    let removed = served.admin.remove_node(served.ask(node_request("r9", A))).await.unwrap().into_inner();
    assert_eq!((removed.name.as_str(), removed.next.as_str()), ("cp-1", ""), "the last that was seen of it");
    assert!(list("cp-1").await.is_empty());
    let retried = served.admin.remove_node(served.ask(node_request("r9", A))).await.unwrap().into_inner();
    assert_eq!(retried.id, A, "a retry of a removal is answered though nothing is left");
    let refused = served.admin.remove_node(served.ask(node_request("r10", A))).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_listed_renewed_and_revoked() {
    let served = Served::start().await;
    served.admin.apply_cluster(served.ask(apply("r1", spec(), false))).await.unwrap();
    let body = CreateTokenRequest {
        request_id: "r2".into(),
        id: "abcd1234".into(),
        sha256: vec![9; 32],
        cluster: "prod".into(),
        pool: "worker".into(),
        ..CreateTokenRequest::default()
    };
    let made = served.admin.create_token(served.ask(body)).await.unwrap().into_inner();
    assert_eq!((made.state.as_str(), made.uses, made.role.as_str()), ("Live", 1, "worker"));
    let list = async || {
        let body = ListTokensRequest { cluster: "prod".into() };
        served.admin.list_tokens(served.ask(body)).await.unwrap().into_inner().items
    };
    let kinds: Vec<String> = list().await.into_iter().map(|token| token.kind).collect();
    assert_eq!(kinds, ["enrolment", "bootstrap"], "the second was made with the cluster");

    let renew = async |request_id: &str, id: &str| {
        let body = RenewTokenRequest { request_id: request_id.into(), id: id.into(), ttl_seconds: 7 * 24 * 3600 };
        served.admin.renew_token(served.ask(body)).await.map(|answer| answer.into_inner())
    };
    let renewed = renew("r3", "abcd1234").await.unwrap();
    assert!(renewed.expires.unwrap().seconds > made.expires.unwrap().seconds);
    let bootstrap = list().await.remove(1).id;
    assert_eq!(renew("r4", &bootstrap).await.unwrap_err().code(), Code::FailedPrecondition);
    let body = RevokeTokenRequest { request_id: "r5".into(), id: "abcd1234".into() };
    assert_eq!(served.admin.revoke_token(served.ask(body)).await.unwrap().into_inner().state, "Revoked");
    assert_eq!(word(&renew("r6", "abcd1234").await.unwrap_err()), "TokenRevoked");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_line_that_would_not_work_is_refused_with_what_is_missing() {
    let served = Served::start().await;
    served.admin.apply_cluster(served.ask(apply("r1", spec(), false))).await.unwrap();
    let body = CreateJoinCommandRequest { request_id: "r2".into(), ..CreateJoinCommandRequest::default() };
    let refused = served.admin.create_join_command(served.ask(body)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("no control plane yet"), "{refused}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_is_one_screen() {
    let served = Served::start().await;
    served.admin.apply_cluster(served.ask(apply("r1", spec(), false))).await.unwrap();
    served.enrol(A).await;
    served.approve(A, "cp-1").await;
    served.attach(A, 1).await;
    let status = served.admin.get_status(served.ask(GetStatusRequest {})).await.unwrap().into_inner();
    assert_eq!((status.server_id, status.leader_id, status.sealed, status.connected_agents), (1, 1, false, 1));
    assert!(status.applied_index > 0 && status.raft_term > 0 && status.root_pin.starts_with("sha256:"));
    assert_eq!(status.enrolment_urls, ["https://192.0.2.5:9443"]);
    let nodes: Vec<_> = status.nodes.iter().map(|line| (line.role.as_str(), line.phase.as_str(), line.count)).collect();
    assert_eq!(nodes, [("control-plane", "Preflight", 1)]);
    let names: Vec<&str> = status.certificates.iter().map(|certificate| certificate.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "fleet/root",
            "fleet/node",
            "fleet/operator",
            "fleet/server",
            "prod/ca.crt",
            "prod/etcd/ca.crt",
            "prod/front-proxy-ca.crt"
        ]
    );
    assert!(status.certificates.iter().all(|certificate| certificate.not_after.is_some()));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_no_operator_is_answered_nothing() {
    let served = Served::start().await;
    let admin = &served.admin;
    let codes = [
        admin.get_status(Request::new(GetStatusRequest {})).await.err(),
        admin.list_clusters(Request::new(ListClustersRequest::default())).await.err(),
        admin.list_nodes(Request::new(ListNodesRequest::default())).await.err(),
        admin.watch_nodes(Request::new(ListNodesRequest::default())).await.err(),
        admin.list_tokens(Request::new(ListTokensRequest::default())).await.err(),
        admin.list_permits(Request::new(ListPermitsRequest::default())).await.err(),
        admin.list_events(Request::new(muster_proto::admin::v1::ListEventsRequest::default())).await.err(),
        admin.watch_events(Request::new(muster_proto::admin::v1::ListEventsRequest::default())).await.err(),
        admin.follow_logs(Request::new(muster_proto::admin::v1::FollowLogsRequest::default())).await.err(),
        admin.apply_cluster(Request::new(apply("r1", spec(), true))).await.err(),
        admin.remove_node(Request::new(node_request("r2", A))).await.err(),
    ];
    assert!(codes.iter().all(|status| status.as_ref().map(tonic::Status::code) == Some(Code::Unauthenticated)));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_vote_sends_operators_to_one_that_does() {
    let served = Served::start().await;
    let home = tempfile::tempdir().unwrap();
    let (relay, consensus) = served.relay(home.path()).await;
    let refused = relay.lock_node(served.ask(node_request("r1", "n"))).await.unwrap_err();
    assert_eq!((refused.code(), word(&refused)), (Code::Unavailable, "NotAVoter"), "{refused}");
    let at_a_voter = served.admin.lock_node(served.ask(node_request("r1", "n"))).await.unwrap_err();
    assert_eq!(at_a_voter.code(), Code::NotFound, "{at_a_voter}");
    // What it does by itself, it does.
    let snapshot = TakeSnapshotRequest { request_id: "r2".into() };
    let word_of = relay.take_snapshot(served.ask(snapshot)).await.map_err(|status| word(&status).to_owned());
    assert_ne!(word_of.map(drop), Err("NotAVoter".to_owned()));
    consensus.shutdown().await;
    served.stop().await;
}
