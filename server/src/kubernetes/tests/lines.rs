//! Printed join lines in a linked cluster: no custodian is needed, and for one name no person.

use muster_state::{
    ClusterId, NodeName,
    command::UpdateCluster,
    record::{BootstrapTokenState, ClusterSpec, LinkCondition, Role},
};
use serde_json::Value;

use super::{
    double::{Double, Fault, NODES, REQUESTS, SECRETS},
    secrets::Signer,
    start,
    world::{World, csr, node, pkcs10, until},
};
use crate::{
    api::fixture::CLUSTER,
    clock::now_ms,
    operations::{
        OperationError,
        join_command::{Approval, Discovery, Line, Order, run},
    },
};

pub(super) async fn print(world: &World, name: Option<&str>) -> Result<Line, OperationError> {
    let node_name = name.map(|name| NodeName::parse(name).unwrap());
    print_as(world, Role::Worker, node_name).await
}

async fn print_as(world: &World, role: Role, node_name: Option<NodeName>) -> Result<Line, OperationError> {
    let discovery = Discovery::Token;
    let order = Order { role, node_name, discovery, ttl_ms: 3_600_000, caller: "anna".into() };
    run(&world.server, &ClusterId::from(CLUSTER), order).await
}

pub(super) async fn until_verdict(double: &Double, name: &str, wanted: &str) {
    until(name, async || match double.get(REQUESTS, name).map(|csr| csr["status"]["conditions"][0]["type"].clone()) {
        Some(seen) if seen == wanted => Ok(()),
        seen => Err(seen),
    })
    .await;
}

async fn until_told(world: &World, reason: &str) {
    until(reason, async || {
        let told = world.state(|state| state.events.iter().any(|event| event.reason == reason));
        if told { Ok(()) } else { Err(()) }
    })
    .await;
}

#[tokio::test]
async fn a_line_for_a_name_works_once_and_its_second_use_takes_it_back() {
    let (double, world) = start().await;
    let line = print(&world, Some("w9")).await.unwrap();
    assert!(line.text.expose().ends_with(" --node-name w9") && line.approval == Approval::Muster);
    assert!(line.text.expose().contains(&world.whole_token(&line.token)));
    world.until_token(&line.token, BootstrapTokenState::Present).await;
    let again = print(&world, Some("w9")).await.unwrap();
    assert_ne!(again.token, line.token, "the first one would end sooner than was asked for");
    world.until_token(&line.token, BootstrapTokenState::Deleted).await;
    double.put(REQUESTS, csr("own", &again.token, &pkcs10("system:node:w9", "system:nodes")));
    until_verdict(&double, "own", "Approved").await;
    let reused = print(&world, Some("w9")).await.unwrap();
    assert_ne!(reused.token, again.token, "a spent token is handed out to nobody");
    double.put(REQUESTS, csr("late", &again.token, &pkcs10("system:node:w9", "system:nodes")));
    until_verdict(&double, "late", "Denied").await;
    double.put(REQUESTS, csr("other", &reused.token, &pkcs10("system:node:cp1", "system:nodes")));
    until_verdict(&double, "other", "Denied").await;
    double.put(REQUESTS, csr("second", &reused.token, &pkcs10("system:node:w9", "system:nodes")));
    until_verdict(&double, "second", "Denied").await;
    world.until_token(&reused.token, BootstrapTokenState::Deleted).await;
    until_told(&world, "JoinLineStolen").await;
    assert!(double.names(SECRETS).is_empty());
    world.stop().await;
}

#[tokio::test]
async fn a_name_that_a_ready_node_or_a_machine_of_musters_has_is_refused() {
    let (double, world) = start().await;
    let taken = print(&world, Some("cp1")).await.map(|_| ()).unwrap_err();
    assert!(taken.to_string().contains("cp1"), "{taken}");
    double.put(NODES, node("w8", "True"));
    double.put(NODES, node("w9", "Unknown"));
    for (name, verdict) in [("w8", "Denied"), ("w9", "Approved")] {
        let line = print(&world, Some(name)).await.unwrap();
        double.put(REQUESTS, csr(name, &line.token, &pkcs10(&format!("system:node:{name}"), "system:nodes")));
        until_verdict(&double, name, verdict).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_line_without_a_name_waits_for_a_person() {
    let (double, world) = start().await;
    let line = print(&world, None).await.unwrap();
    assert_eq!(line.approval, Approval::Person);
    assert!(!line.text.expose().contains("--node-name"));
    double.put(REQUESTS, csr("any", &line.token, &pkcs10("system:node:w9", "system:nodes")));
    until_told(&world, "CsrWaiting").await;
    assert_eq!(double.get(REQUESTS, "any").unwrap()["status"], Value::Null);
    world.stop().await;
}

#[tokio::test]
async fn a_line_that_would_not_work_is_not_printed_and_why_is_said() {
    let (double, world) = start().await;
    double.signer(Signer::Off);
    let unsigned = print(&world, None).await.map(|_| ()).unwrap_err().to_string();
    assert!(unsigned.contains("bootstrapsigner"), "{unsigned}");
    let tokens = world.state(|state| state.bootstrap_tokens.keys().cloned().collect::<Vec<_>>());
    assert_eq!(tokens.len(), 1);
    world.until_token(&tokens[0], BootstrapTokenState::Deleted).await;
    assert!(double.names(SECRETS).is_empty(), "nobody waits for it any more");
    double.fault(Fault::Status(500));
    world.until_condition(LinkCondition::Failing).await;
    let down = print(&world, None).await.map(|_| ()).unwrap_err().to_string();
    assert!(down.contains("Failing"), "{down}");
    world.stop().await;
}

#[tokio::test]
async fn a_control_planes_line_brings_kubeadm_certs_back() {
    let (double, world) = start().await;
    assert!(double.get(SECRETS, "kubeadm-certs").is_none());
    let line = print_as(&world, Role::ControlPlane, Some(NodeName::parse("cp9").unwrap())).await.unwrap();
    assert!(double.get(SECRETS, "kubeadm-certs").is_some());
    assert!(line.text.expose().contains(" --control-plane --certificate-key "));
    let plane = pkcs10("system:node:cp9", "system:nodes");
    let mut request = csr("cp9", &line.token, &plane);
    request["spec"]["groups"][1] = "system:bootstrappers:muster:prod:control-plane".into();
    double.put(REQUESTS, request);
    until_verdict(&double, "cp9", "Approved").await;
    let window = world.state(|state| state.is_join_window_open(&CLUSTER.into(), now_ms() + 3_500_000));
    assert!(window, "it stays as long as the line works");
    world.stop().await;
}

#[tokio::test]
async fn where_cluster_info_is_closed_no_line_that_needs_it_is_printed() {
    let (double, world) = start().await;
    let cluster = world.cluster();
    let spec = ClusterSpec { cluster_info_closed: true, ..cluster.spec };
    let update = UpdateCluster { id: cluster.id, revision: cluster.revision, spec };
    world.server.ledger.propose(update).await.unwrap();
    let public = || world.cluster().link.and_then(|link| link.cluster_info_public);
    until("its end", async || if public() == Some(false) { Ok(()) } else { Err(public()) }).await;
    let closed = print(&world, None).await.map(|_| ()).unwrap_err().to_string();
    assert!(
        closed.contains("cluster-info") && closed.contains("not public") && closed.contains("--discovery https"),
        "{closed}"
    );
    assert!(double.names(SECRETS).is_empty());
    world.stop().await;
}
