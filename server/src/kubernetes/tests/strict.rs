//! The strict mode against a double: a request is held until nobody can make another one with its token.

use muster_state::{
    NodeId, Phase, TokenId,
    command::UpdateCluster,
    limits::TOKEN_FORGOTTEN_MS,
    record::{BootstrapTokenState, ClusterSpec, CsrApproval, Hold, JudgedRequest, Link, LinkCondition},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    double::{Double, Fault, REQUESTS, SECRETS},
    lines::print,
    start,
    world::{World, csr, pkcs10, until},
};
use crate::kubernetes;

pub(super) async fn become_strict(world: &World) {
    let cluster = world.cluster();
    let spec = ClusterSpec { link: Some(Link { csr_approval: CsrApproval::Strict }), ..cluster.spec };
    let update = UpdateCluster { id: cluster.id, revision: cluster.revision, spec };
    world.server.ledger.propose(update).await.unwrap();
}

/// A strict cluster; worker `w1` joins, and is that far.
async fn start_strict(phase: &str) -> (Double, World, NodeId, TokenId) {
    let (double, world) = start().await;
    become_strict(&world).await;
    let (id, token) = world.worker("machine-w1", "w1").await;
    world.joins(&id, &token).await;
    world.is_at(&id, phase).await;
    (double, world, id, token)
}

fn own(name: &str, token: &TokenId) -> Value {
    csr(name, token, &pkcs10("system:node:w1", "system:nodes"))
}

fn verdicts(double: &Double, name: &str) -> Vec<Value> {
    let conditions = double.get(REQUESTS, name).unwrap()["status"]["conditions"].clone();
    conditions.as_array().into_iter().flatten().map(|condition| condition["type"].clone()).collect()
}

async fn until_verdict(double: &Double, name: &str, wanted: &str) {
    until(name, async || match verdicts(double, name) {
        seen if seen == [wanted] => Ok(()),
        seen => Err(seen),
    })
    .await;
}

async fn until_held(world: &World, id: &NodeId, wanted: Hold) -> JudgedRequest {
    let seen = || world.node(id).requests.first().cloned();
    until("the hold", async || match seen() {
        Some(seen) if seen.hold == wanted => Ok(()),
        other => Err(other),
    })
    .await;
    seen().unwrap()
}

async fn until_stolen(double: &Double, world: &World, id: &NodeId, token: &TokenId, names: &[&str]) {
    for name in names {
        until_verdict(double, name, "Denied").await;
    }
    world.until_token(token, BootstrapTokenState::Deleted).await;
    assert!(double.names(SECRETS).is_empty());
    assert_eq!(world.node(id).phase, Phase::Locked);
    assert!(world.node(id).requests.iter().all(|seen| !seen.approved && !seen.hold.is_on()));
}

/// Another leader takes over, and the object changes, while it is held.
#[tokio::test(flavor = "multi_thread")]
async fn the_only_request_is_approved_once_and_after_its_token_is_forgotten() {
    let (double, mut world, id, token) = start_strict("kubelet-start").await;
    double.put(REQUESTS, own("csr-1", &token));
    until_held(&world, &id, Hold::Settling).await;
    assert_eq!(world.state(|state| state.bootstrap_tokens[&token].state), BootstrapTokenState::Present);
    until_held(&world, &id, Hold::Ending).await;
    world.until_token(&token, BootstrapTokenState::Deleted).await;
    assert!(double.names(SECRETS).is_empty() && verdicts(&double, "csr-1").is_empty());
    world.reconnect().await;
    let mut changed = double.get(REQUESTS, "csr-1").unwrap();
    changed["metadata"]["annotations"]["looked"] = "at".into();
    double.put(REQUESTS, changed);
    until_verdict(&double, "csr-1", "Approved").await;
    let judged = until_held(&world, &id, Hold::Passed).await;
    let deleted_ms = world.state(|state| state.bootstrap_tokens[&token].deleted_ms);
    assert!(judged.approved && judged.at_ms >= deleted_ms + TOKEN_FORGOTTEN_MS, "{} {deleted_ms}", judged.at_ms);
    assert_eq!(double.calls().iter().filter(|call| call.ends_with("csr-1/approval")).count(), 1);
    assert!(world.node(&id).locked.is_none());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thief_who_is_first_gets_no_certificate_and_neither_does_the_machine() {
    let (double, world, id, token) = start_strict("kubelet-start").await;
    double.put(REQUESTS, own("stolen", &token));
    until_held(&world, &id, Hold::Settling).await;
    double.put(REQUESTS, own("own", &token));
    until_stolen(&double, &world, &id, &token, &["stolen", "own"]).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thief_who_is_long_before_the_machine_waits_for_it() {
    let (double, world, id, token) = start_strict("preflight").await;
    double.put(REQUESTS, own("stolen", &token));
    until_held(&world, &id, Hold::Early).await;
    world.is_at(&id, "kubelet-start").await;
    until_held(&world, &id, Hold::Settling).await;
    double.put(REQUESTS, own("own", &token));
    until_stolen(&double, &world, &id, &token, &["stolen", "own"]).await;
    world.stop().await;
}

/// It authenticates for ten seconds more, and a watch may be late.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_request_after_the_deletion_denies_both_even_if_no_watch_tells_of_it() {
    for told in [true, false] {
        let (double, world, id, token) = start_strict("kubelet-start").await;
        double.put(REQUESTS, own("own", &token));
        world.until_token(&token, BootstrapTokenState::Deleted).await;
        if told {
            double.put(REQUESTS, own("stolen", &token))
        } else {
            double.slip(REQUESTS, own("stolen", &token))
        }
        until_stolen(&double, &world, &id, &token, &["own", "stolen"]).await;
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_link_is_down_the_token_is_there_and_nothing_is_approved() {
    let (double, world, id, token) = start_strict("kubelet-start").await;
    double.put(REQUESTS, own("csr-1", &token));
    until_held(&world, &id, Hold::Settling).await;
    double.fault(Fault::Status(500));
    world.until_condition(LinkCondition::Failing).await;
    double.fault(Fault::None);
    until_held(&world, &id, Hold::Ending).await;
    double.fault(Fault::Status(500));
    world.until_condition(LinkCondition::Failing).await;
    assert!(verdicts(&double, "csr-1").is_empty());
    double.fault(Fault::None);
    until_verdict(&double, "csr-1", "Approved").await;
    let record = world.state(|state| state.bootstrap_tokens[&token].clone());
    assert!(world.node(&id).requests[0].at_ms >= record.deleted_ms + TOKEN_FORGOTTEN_MS);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_controllers_at_once_approve_one_request_once() {
    let (double, world, id, token) = start_strict("kubelet-start").await;
    let stop = CancellationToken::new();
    let second = tokio::spawn(kubernetes::run(world.server.clone(), stop.clone()));
    double.put(REQUESTS, own("csr-1", &token));
    until_verdict(&double, "csr-1", "Approved").await;
    let approvals = world.state(|state| state.events.iter().filter(|event| event.reason == "CsrApproved").count());
    assert!(approvals == 1 && world.node(&id).requests.len() == 1 && world.node(&id).locked.is_none());
    stop.cancel();
    second.await.unwrap();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_for_a_name_is_held_as_well_and_its_second_use_denies_both() {
    let (double, world) = start().await;
    become_strict(&world).await;
    let lines = [print(&world, Some("l1")).await.unwrap(), print(&world, Some("l2")).await.unwrap()];
    let request = |name: &str, line: usize, of: &str| {
        double.put(REQUESTS, csr(name, &lines[line].token, &pkcs10(&format!("system:node:{of}"), "system:nodes")));
    };
    request("only", 0, "l1");
    request("first", 1, "l2");
    world.until_token(&lines[1].token, BootstrapTokenState::Deleted).await;
    request("second", 1, "l2");
    for name in ["first", "second"] {
        until_verdict(&double, name, "Denied").await;
    }
    until_verdict(&double, "only", "Approved").await;
    let told = |reason: &str| world.state(|state| state.events.iter().filter(|event| event.reason == reason).count());
    assert_eq!((told("JoinLineStolen"), told("CsrHeld")), (1, 2));
    world.stop().await;
}
