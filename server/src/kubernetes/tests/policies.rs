//! An API server before Kubernetes 1.30: nothing would hold the link to its own Secrets, so a custodian makes them.

use muster_state::{
    ClusterId,
    command::{CompleteErrand, ErrandOutcome, OpenErrand},
    record::{BootstrapTokenState, ErrandKind, LinkCondition},
};

use super::{
    double::{Double, NODES, REQUESTS},
    world::{World, csr, mk_pki, node, pkcs10, until},
};
use crate::api::fixture::CLUSTER;

/// A custodian does that errand.
async fn errand(world: &World, kind: ErrandKind) {
    let (cluster, ledger) = (ClusterId::from(CLUSTER), &world.server.ledger);
    let custodian = ledger.read(|state| state.custodian(&cluster).unwrap().id.clone());
    let number = ledger.propose(OpenErrand { cluster, kind, custodian: custodian.clone() }).await.unwrap();
    let done = CompleteErrand { number, node: custodian, outcome: ErrandOutcome::Done(None) };
    ledger.propose(done).await.unwrap();
}

#[tokio::test]
async fn the_link_approves_and_watches_and_touches_no_secret() {
    let pki = mk_pki();
    let double = Double::start(&pki).await;
    let world = World::start_as(&pki, &format!("127.0.0.1:{}", double.port), "", true).await;
    world.until_condition(LinkCondition::Connected).await;
    let (id, token) = world.worker("machine-w1", "w1").await;
    errand(&world, ErrandKind::ApplyTokens(vec![token.clone()])).await;
    world.joins(&id, &token).await;
    double.put(REQUESTS, csr("csr-1", &token, &pkcs10("system:node:w1", "system:nodes")));
    until("the approval", async || {
        let request = double.get(REQUESTS, "csr-1").unwrap();
        if request["status"]["conditions"][0]["type"] == "Approved" { Ok(()) } else { Err(request) }
    })
    .await;
    double.put(NODES, node("w1", "True"));
    world.has_joined(&id).await;
    until("the Node's word", async || if world.node(&id).api.is_some() { Ok(()) } else { Err(world.node(&id).phase) })
        .await;
    world.until_token(&token, BootstrapTokenState::Ending).await;
    errand(&world, ErrandKind::DeleteTokens(vec![token.clone()])).await;
    world.until_token(&token, BootstrapTokenState::Deleted).await;
    let calls = double.calls();
    assert!(!calls.iter().any(|call| call.contains("/secrets")), "{calls:?}");
    world.stop().await;
}
