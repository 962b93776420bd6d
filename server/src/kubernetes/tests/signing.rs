//! Tokens that are to be discovered with are there when they are signed, and not before.

use muster_state::{
    ClusterId, TokenId,
    command::UpdateCluster,
    record::{BootstrapTokenState, LinkCondition, Purpose, Role, TokenDifference},
};
use serde_json::json;

use super::{
    double::{Double, Fault, SECRETS},
    secrets::{CLUSTER_INFO, Signer},
    start,
    world::{World, until},
};
use crate::api::fixture::CLUSTER;

async fn until_differs(world: &World, id: &TokenId, wanted: Option<TokenDifference>) {
    until("the word on the token", async || {
        let seen = world.state(|state| state.bootstrap_tokens[id].differs);
        if seen == wanted { Ok(()) } else { Err(seen) }
    })
    .await;
}

fn told(world: &World, reason: &str) -> usize {
    world.state(|state| state.events.iter().filter(|event| event.reason == reason).count())
}

#[tokio::test]
async fn a_join_lines_token_is_there_once_it_is_signed_and_only_then_is_the_public_map_read() {
    let (double, world) = start().await;
    let (_, own) = world.worker("machine-w1", "w1").await;
    world.until_token(&own, BootstrapTokenState::Present).await;
    let looks = |double: &Double| double.calls().iter().filter(|call| call.ends_with(CLUSTER_INFO)).count();
    assert_eq!(looks(&double), 0, "a node that discovers by file needs no signature");
    let id = world.line(Purpose::JoinCommand(Role::Worker)).await;
    world.until_token(&id, BootstrapTokenState::Present).await;
    let secret = double.get(SECRETS, &format!("bootstrap-token-{id}")).unwrap();
    assert!(secret["data"]["usage-bootstrap-signing"].is_string());
    assert!((1..5).contains(&looks(&double)), "{}", looks(&double));
    world.stop().await;
}

#[tokio::test]
async fn a_token_that_is_never_signed_is_said_to_be_and_holds_up_no_other() {
    let (double, world) = start().await;
    for (signer, word) in [
        (Signer::Off, TokenDifference::Unsigned),
        (Signer::Wrong, TokenDifference::Unsigned),
        (Signer::Hidden, TokenDifference::Unreadable),
    ] {
        double.signer(signer);
        let id = world.line(Purpose::JoinCommand(Role::Worker)).await;
        let (_, own) = world.worker(&format!("machine-{signer:?}"), &format!("{signer:?}").to_lowercase()).await;
        world.until_token(&own, BootstrapTokenState::Present).await;
        until_differs(&world, &id, Some(word)).await;
        let (state, told_then) = (world.state(|state| state.bootstrap_tokens[&id].state), told(&world, "TokenDiffers"));
        assert_eq!(state, BootstrapTokenState::Minted, "{signer:?}");
        double.signer(Signer::On);
        world.until_token(&id, BootstrapTokenState::Present).await;
        until_differs(&world, &id, None).await;
        assert_eq!(told(&world, "TokenDiffers"), told_then, "it is told once");
        assert_eq!(world.condition(), Some(LinkCondition::Connected));
    }
    world.stop().await;
}

#[tokio::test]
async fn a_node_of_a_pool_that_discovers_by_token_waits_for_the_signature_and_says_so() {
    let (double, world) = start().await;
    let cluster = ClusterId::from(CLUSTER);
    let (revision, mut spec) =
        world.state(|state| (state.clusters[&cluster].revision, state.clusters[&cluster].spec.clone()));
    spec.pools.iter_mut().for_each(|pool| pool.discovery = "token".into());
    world.server.ledger.propose(UpdateCluster { id: cluster, revision, spec }).await.unwrap();
    double.signer(Signer::Off);
    let (node, id) = world.worker("machine-w1", "w1").await;
    until_differs(&world, &id, Some(TokenDifference::Unsigned)).await;
    assert!(world.node(&node).message.contains("bootstrapsigner"), "{}", world.node(&node).message);
    double.signer(Signer::On);
    world.joins(&node, &id).await;
    world.stop().await;
}

#[tokio::test]
async fn somebody_elses_secret_of_a_tokens_name_stays_and_the_token_is_given_up() {
    let (double, world) = start().await;
    double.fault(Fault::Status(503));
    world.until_condition(LinkCondition::Failing).await;
    let (_, id) = world.worker("machine-w1", "w1").await;
    let name = format!("bootstrap-token-{id}");
    let data = json!({ "usage-bootstrap-authentication": "dHJ1ZQ==" });
    let foreign = json!({ "metadata": { "name": name }, "type": "bootstrap.kubernetes.io/token", "data": data });
    double.put(SECRETS, foreign);
    let there = double.get(SECRETS, &name);
    double.fault(Fault::None);
    world.until_token(&id, BootstrapTokenState::Deleted).await;
    assert_eq!(double.get(SECRETS, &name), there);
    assert_eq!(told(&world, "TokenDiffers"), 1);
    world.until_condition(LinkCondition::Connected).await;
    world.stop().await;
}
