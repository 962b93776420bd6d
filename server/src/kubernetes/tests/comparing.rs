//! What the cluster has of tokens, without a look at any Secret: what is missing is said or made anew, leftovers go.

use muster_state::{
    TokenId,
    record::{BootstrapTokenState, LinkCondition, Purpose, Role, TokenDifference},
};
use serde_json::{Value, json};

use super::{
    double::{Double, Fault, SECRETS},
    start,
    world::{World, until},
};
use crate::{api::fixture::CLUSTER, operations::mint_token};

/// A new connection begins with a comparison.
async fn reconnect(double: &Double, world: &World) {
    double.fault(Fault::Status(500));
    world.until_condition(LinkCondition::Failing).await;
    double.fault(Fault::None);
    world.until_condition(LinkCondition::Connected).await;
}

fn told(world: &World, part: &str) -> usize {
    let is_told = |reason: &str, text: &str| reason == "TokenDiffers" && text.contains(part);
    world.state(|state| state.events.iter().filter(|event| is_told(&event.reason, &event.message)).count())
}

fn name(id: &TokenId) -> String {
    format!("bootstrap-token-{id}")
}

#[tokio::test]
async fn a_token_that_somebody_has_deleted_is_missing_or_if_its_node_waits_made_up_for() {
    let (double, world) = start().await;
    let (waits, first) = world.worker("machine-w1", "w1").await;
    let (joins, second) = world.worker("machine-w2", "w2").await;
    let line = world.line(Purpose::JoinCommand(Role::Worker)).await;
    world.joins(&joins, &second).await;
    for id in [&first, &second, &line] {
        world.until_token(id, BootstrapTokenState::Present).await;
    }
    let there = |double: &Double| double.names(SECRETS);
    reconnect(&double, &world).await;
    until("a look at each", async || {
        let looks = double.calls().iter().filter(|call| call.starts_with("DRY DELETE")).count();
        if looks >= 3 { Ok(()) } else { Err(looks) }
    })
    .await;
    assert_eq!((there(&double).len(), told(&world, "")), (3, 0), "to look changes nothing");
    for id in [&first, &second, &line] {
        double.remove(SECRETS, &name(id)).unwrap();
    }
    reconnect(&double, &world).await;
    world.until_token(&first, BootstrapTokenState::Deleted).await;
    let differs = |id: &TokenId| world.state(|state| state.bootstrap_tokens[id].differs);
    for id in [&second, &line] {
        until("the word", async || if differs(id) == Some(TokenDifference::Missing) { Ok(()) } else { Err(()) }).await;
    }
    assert_eq!(told(&world, "gone from the cluster"), 3);
    // The conductor, which does not run here, gives it another.
    let token = world.line(Purpose::Node(waits)).await;
    world.until_token(&token, BootstrapTokenState::Present).await;
    assert!(!double.calls().iter().any(|call| call.starts_with("GET") && call.contains("secrets")));
    world.stop().await;
}

#[tokio::test]
async fn a_secret_of_a_token_that_has_ended_is_swept_and_others_are_left_alone() {
    let (double, world) = start().await;
    let line = world.line(Purpose::JoinCommand(Role::Worker)).await;
    world.until_token(&line, BootstrapTokenState::Present).await;
    let left = double.get(SECRETS, &name(&line)).unwrap();
    let revoke = muster_state::command::RevokeToken { id: line.clone() };
    world.server.ledger.propose(revoke).await.unwrap();
    world.until_token(&line, BootstrapTokenState::Deleted).await;
    // As a leader that is none any more might still do.
    double.put(SECRETS, left);
    let foreign = json!({ "metadata": { "name": "bootstrap-token-zzzzzz" }, "type": "bootstrap.kubernetes.io/token", "data": {} });
    double.put(SECRETS, foreign);
    until("the sweep", async || {
        reconnect(&double, &world).await;
        if told(&world, "has been deleted now") > 0 { Ok(()) } else { Err(double.names(SECRETS)) }
    })
    .await;
    assert_eq!(double.names(SECRETS), ["bootstrap-token-zzzzzz"]);
    let record = world.state(|state| state.bootstrap_tokens[&line].clone());
    assert_eq!((record.state, record.differs), (BootstrapTokenState::Deleted, None));
    world.stop().await;
}

#[tokio::test]
async fn a_secret_that_was_made_but_not_recorded_is_made_again_and_ends_with_its_token() {
    let (double, world) = start().await;
    double.fault(Fault::Status(503));
    world.until_condition(LinkCondition::Failing).await;
    let (node, id) = world.worker("machine-w1", "w1").await;
    // The leader before has made it, and died before it could say so.
    let group = "c3lzdGVtOmJvb3RzdHJhcHBlcnM6bXVzdGVyOnByb2Q6d29ya2Vy";
    let made = json!({
        "metadata": { "name": name(&id) }, "type": "bootstrap.kubernetes.io/token", "data": { "auth-extra-groups": group },
    });
    double.put(SECRETS, made);
    double.fault(Fault::None);
    world.until_token(&id, BootstrapTokenState::Present).await;
    assert_ne!(double.get(SECRETS, &name(&id)).unwrap()["data"]["expiration"], Value::Null);
    world.joins(&node, &id).await;
    world.has_joined(&node).await;
    world.until_token(&id, BootstrapTokenState::Deleted).await;
    assert!(double.names(SECRETS).is_empty());
    world.stop().await;
}

#[tokio::test]
async fn a_token_that_its_waiting_node_still_needs_is_renewed_before_it_runs_out() {
    let (double, world) = start().await;
    let node = world.machine("machine-w1", "w1").await;
    world.attaches(&node).await;
    let (purpose, ttl_ms) = (Purpose::Node(node.clone()), 6_000);
    let id = mint_token::run(&world.server, &CLUSTER.into(), purpose, ttl_ms).await.unwrap();
    world.until_token(&id, BootstrapTokenState::Present).await;
    let end = || world.state(|state| state.bootstrap_tokens[&id].expires_ms);
    let written = || double.get(SECRETS, &name(&id)).unwrap()["data"]["expiration"].clone();
    let (first_end, first_written) = (end(), written());
    until("its renewal", async || if end() > first_end { Ok(()) } else { Err(end()) }).await;
    assert!(written() != first_written);
    assert_eq!(world.state(|state| state.bootstrap_tokens[&id].state), BootstrapTokenState::Present);
    world.joins(&node, &id).await;
    world.has_joined(&node).await;
    world.until_token(&id, BootstrapTokenState::Deleted).await;
    world.stop().await;
}
