//! What a link does when all goes well, and when somebody attacks.

use muster_state::{
    NodeId, Phase,
    command::UpdateCluster,
    record::{BootstrapTokenState, LinkCondition},
};
use rcgen::DnType;
use serde_json::Value;

use super::{
    double::{Double, Fault, NODES, REQUESTS, SECRETS},
    start,
    world::{World, csr, node, pkcs10, request, until},
};

/// As its own kubelet's, with more names than any machine has.
fn endless_pkcs10(common_name: &str) -> String {
    let names: Vec<String> = (0..500).map(|number| format!("name-{number}.example")).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    params.distinguished_name.push(DnType::CommonName, common_name);
    request(&params)
}

fn verdict(double: &Double, name: &str) -> Option<Value> {
    Some(double.get(REQUESTS, name)?["status"]["conditions"][0]["type"].clone())
}

async fn until_verdict(double: &Double, name: &str, wanted: &str) {
    until(name, async || match verdict(double, name) {
        Some(seen) if seen == wanted => Ok(()),
        seen => Err(seen),
    })
    .await;
}

#[tokio::test]
async fn a_node_joins_with_a_token_of_its_own_and_one_approved_request() {
    let (double, world) = start().await;
    let (id, token) = world.worker("machine-w1", "w1").await;
    world.joins(&id, &token).await;
    let secret = double.get(SECRETS, &format!("bootstrap-token-{token}")).unwrap();
    assert!(secret["data"]["expiration"].is_string() && secret["data"]["usage-bootstrap-signing"].is_null());
    double.put(REQUESTS, csr("csr-1", &token, &pkcs10("system:node:w1", "system:nodes")));
    until_verdict(&double, "csr-1", "Approved").await;
    double.put(NODES, node("w1", "True"));
    world.has_joined(&id).await;
    world.until_token(&token, BootstrapTokenState::Deleted).await;
    assert!(double.names(SECRETS).is_empty());
    until("the Node's word", async || {
        let node = world.node(&id);
        if node.api.is_some() && node.phase == Phase::Ready { Ok(()) } else { Err(node.phase) }
    })
    .await;
    let node = world.node(&id);
    assert_eq!(node.requests[0].token.as_ref(), Some(&token));
    assert_eq!(node.api.unwrap().node.unwrap().uid, "uid-of-w1");
    let calls = double.calls();
    assert!(!calls.iter().any(|call| call.starts_with("GET") && call.contains("secrets")), "{calls:?}");
    world.stop().await;
}

#[tokio::test]
async fn a_thief_is_denied_and_the_node_is_locked_and_its_token_goes() {
    let (double, world) = start().await;
    let (id, token) = world.worker("machine-w1", "w1").await;
    world.joins(&id, &token).await;
    double.put(REQUESTS, csr("own", &token, &pkcs10("system:node:w1", "system:nodes")));
    until_verdict(&double, "own", "Approved").await;
    double.put(REQUESTS, csr("stolen", &token, &pkcs10("system:node:w1", "system:nodes")));
    until_verdict(&double, "stolen", "Denied").await;
    world.until_token(&token, BootstrapTokenState::Deleted).await;
    assert!(double.names(SECRETS).is_empty());
    assert_eq!(world.node(&id).phase, Phase::Locked);
    world.stop().await;
}

#[tokio::test]
async fn requests_for_other_names_and_groups_are_denied_and_those_of_others_left_alone() {
    let (double, world) = start().await;
    let (a, token_a) = world.worker("machine-a", "wa").await;
    let (b, token_b) = world.worker("machine-b", "wb").await;
    world.joins(&a, &token_a).await;
    world.joins(&b, &token_b).await;
    double.put(REQUESTS, csr("plane", &token_a, &pkcs10("system:node:cp1", "system:nodes")));
    double.put(REQUESTS, csr("masters", &token_b, &pkcs10("system:node:wb", "system:masters")));
    double.put(REQUESTS, csr("foreign", &"zzzzzz".into(), &pkcs10("system:node:x", "system:nodes")));
    double.put(REQUESTS, csr("garbled", &token_b, "no request"));
    double.put(REQUESTS, csr("endless", &token_b, &endless_pkcs10("system:node:wb")));
    for name in ["plane", "masters", "garbled", "endless"] {
        until_verdict(&double, name, "Denied").await;
    }
    assert_eq!(verdict(&double, "foreign"), Some(Value::Null));
    world.stop().await;
}

#[tokio::test]
async fn an_approval_that_meets_a_changed_object_is_made_again() {
    let (double, world) = start().await;
    let (id, token) = world.worker("machine-w1", "w1").await;
    world.joins(&id, &token).await;
    double.fault(Fault::ConflictOnce);
    double.put(REQUESTS, csr("csr-1", &token, &pkcs10("system:node:w1", "system:nodes")));
    until_verdict(&double, "csr-1", "Approved").await;
    assert!(double.calls().iter().filter(|call| call.starts_with("PUT")).count() >= 2);
    assert!(world.node(&id).locked.is_none());
    world.stop().await;
}

async fn until_message(world: &World, id: &NodeId, phase: Phase, part: &str) {
    until(part, async || {
        let node = world.node(id);
        if node.phase == phase && node.message.contains(part) { Ok(()) } else { Err((node.phase, node.message)) }
    })
    .await;
}

#[tokio::test]
async fn a_node_that_is_not_ready_or_gone_is_seen_also_after_the_api_server_has_forgotten() {
    let (double, world) = start().await;
    let id = world.state(|state| state.nodes.keys().next().cloned()).unwrap();
    assert_eq!(world.node(&id).phase, Phase::Ready, "as its agent has reported");
    double.put(NODES, node("cp1", "True"));
    double.put(NODES, node("stranger", "True"));
    until("the Node's word", async || if world.node(&id).api.is_some() { Ok(()) } else { Err(()) }).await;
    double.put(NODES, node("cp1", "Unknown"));
    until_message(&world, &id, Phase::WaitingForNodeReady, "no network plugin").await;
    double.put(NODES, node("cp1", "True"));
    until_message(&world, &id, Phase::Ready, "").await;
    // The watch ends; meanwhile the Node goes, and what happened is forgotten.
    double.fault(Fault::WatchesEnd);
    double.remove(NODES, "cp1").unwrap();
    double.forget();
    double.fault(Fault::None);
    until_message(&world, &id, Phase::WaitingForNodeReady, "gone").await;
    assert_eq!(world.condition(), Some(LinkCondition::Connected), "to be forgotten is no fault");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_gets_the_labels_that_no_kubelet_may_set_on_itself() {
    const ROLE: &str = "node-role.kubernetes.io/infra";
    let (double, world) = start().await;
    let cluster = world.cluster();
    let mut spec = cluster.spec.clone();
    let pool = spec.pools.iter_mut().find(|pool| pool.name == "cp").unwrap();
    pool.labels = [(ROLE.to_owned(), String::new()), ("rack".to_owned(), "7".to_owned())].into();
    let update = UpdateCluster { id: cluster.id, revision: cluster.revision, spec };
    world.server.ledger.propose(update).await.unwrap();
    double.put(NODES, node("stranger", "True"));
    double.put(NODES, node("cp1", "True"));
    until("the label", async || {
        let labels = double.get(NODES, "cp1").unwrap()["metadata"]["labels"].clone();
        if labels[ROLE] == "" { Ok(()) } else { Err(labels) }
    })
    .await;
    assert!(double.get(NODES, "cp1").unwrap()["metadata"]["labels"]["rack"].is_null(), "that is the kubelet's");
    assert!(double.get(NODES, "stranger").unwrap()["metadata"]["labels"].is_null());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_name_a_ready_node_has_gets_no_token_until_that_is_gone() {
    let (double, world) = start().await;
    double.put(NODES, node("w1", "True"));
    until_watched(&double).await;
    let (id, token) = world.worker("machine-w1", "w1").await;
    until_message(&world, &id, Phase::Preflight, "name is taken").await;
    assert!(double.names(SECRETS).is_empty());
    double.remove(NODES, "w1").unwrap();
    world.until_token(&token, BootstrapTokenState::Present).await;
    world.stop().await;
}

/// A change that is told after those before it.
async fn until_watched(double: &Double) {
    let watches = || double.calls().iter().filter(|call| call.ends_with(NODES)).count();
    until("a watch of Nodes", async || if watches() >= 2 { Ok(()) } else { Err(watches()) }).await;
}

/// What was asked for may be answered late, after the watch has told that the Node is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_taken_is_looked_at_again() {
    let (double, world) = start().await;
    double.put(NODES, node("w1", "True"));
    until_watched(&double).await;
    let (id, token) = world.worker("machine-w1", "w1").await;
    until_message(&world, &id, Phase::Preflight, "name is taken").await;
    double.lose(NODES, "w1");
    world.until_token(&token, BootstrapTokenState::Present).await;
    world.stop().await;
}
