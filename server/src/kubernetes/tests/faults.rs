//! What a link does when the API server fails: it says so in a word, keeps calm, and goes on where it was.

use std::time::Duration;

use muster_state::record::{BootstrapTokenState, LinkCondition};

use super::{
    double::{Double, Fault, NODES},
    world::{World, mk_pki, node, until, within},
};
use crate::{
    clock::now_ms,
    kubernetes::transport::{self, Target},
    operations::link_identity::Shown,
    pki::{LinkTerms, PkiFile, file, issue_for_link},
};

#[tokio::test]
async fn each_failure_has_its_word_and_what_happened_meanwhile_is_made_up_for() {
    let pki = mk_pki();
    let double = Double::start(&pki).await;
    let world = World::start(&pki, &format!("127.0.0.1:{}", double.port)).await;
    let id = world.state(|state| state.nodes.keys().next().cloned()).unwrap();
    use LinkCondition::{Connected, Failing, Forbidden, Throttled, Unauthorized};
    for (code, condition) in [(401, Unauthorized), (403, Forbidden), (429, Throttled), (500, Failing)] {
        world.until_condition(Connected).await;
        double.fault(Fault::Status(code));
        world.until_condition(condition).await;
        let ready = if code % 2 == 0 { "True" } else { "False" };
        double.put(NODES, node("cp1", ready));
        double.fault(Fault::None);
        until("what happened meanwhile", async || {
            let seen = world.node(&id).api.and_then(|seen| seen.node).map(|node| node.ready);
            if seen == Some(ready == "True") { Ok(()) } else { Err(seen) }
        })
        .await;
    }
    world.stop().await;
}

#[tokio::test]
async fn an_api_server_that_fails_or_forgets_or_hangs_up_is_not_asked_without_end() {
    let pki = mk_pki();
    let double = Double::start(&pki).await;
    let world = World::start(&pki, &format!("127.0.0.1:{}", double.port)).await;
    world.until_condition(LinkCondition::Connected).await;
    for fault in [Fault::Status(500), Fault::WatchesEnd, Fault::WatchesExpire] {
        double.fault(fault);
        let before = double.calls().len();
        // What is measured is a rate: three seconds of it.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let calls = double.calls().len() - before;
        assert!(calls < 40, "{fault:?}: {calls} calls in three seconds");
        until("another try", async || if double.calls().len() > before { Ok(()) } else { Err(fault) }).await;
        double.fault(Fault::None);
        world.until_condition(LinkCondition::Connected).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_token_waits_for_an_api_server_that_is_not_there_and_is_made_when_it_is() {
    let pki = mk_pki();
    let double = Double::start(&pki).await;
    let world = World::start(&pki, &format!("127.0.0.1:{}", double.port)).await;
    double.fault(Fault::Status(503));
    world.until_condition(LinkCondition::Failing).await;
    let (id, token) = world.worker("machine-w1", "w1").await;
    assert!(world.node(&id).message.contains("Failing"), "{}", world.node(&id).message);
    double.fault(Fault::None);
    world.until_token(&token, BootstrapTokenState::Present).await;
    world.stop().await;
}

#[tokio::test]
async fn who_cannot_show_the_clusters_authority_is_told_nothing() {
    let (pki, other) = (mk_pki(), mk_pki());
    let double = Double::start(&other).await;
    let world = World::start(&pki, &format!("127.0.0.1:{}", double.port)).await;
    world.until_condition(LinkCondition::Untrusted).await;
    assert!(double.calls().is_empty());
    world.stop().await;
}

#[tokio::test]
async fn an_api_server_that_is_down_is_unreachable() {
    let world = World::start(&mk_pki(), "127.0.0.1:1").await;
    world.until_condition(LinkCondition::Unreachable).await;
    world.stop().await;
}

#[tokio::test]
async fn the_first_address_that_answers_as_the_cluster_is_taken() {
    let (pki, other) = (mk_pki(), mk_pki());
    let (double, stranger) = (Double::start(&pki).await, Double::start(&other).await);
    let text = |name| pki.files.get(name).map(PkiFile::expose).unwrap();
    let terms = LinkTerms { user: "muster:server:1", group: crate::kubeadm::link_rbac::GROUP };
    let identity = issue_for_link(text(file::CA_CRT), text(file::CA_KEY).as_bytes(), terms, now_ms()).unwrap();
    let target = |port| Target { host: "127.0.0.1".into(), port };
    let targets = vec![target(1), target(stranger.port), target(double.port)];
    let client = transport::client(targets, text(file::CA_CRT), Some(Shown::Certificate(identity))).unwrap();
    let version = within("the version", client.apiserver_version()).await.unwrap();
    assert_eq!(version.minor, "36");
    assert!(stranger.calls().is_empty());
}

#[tokio::test]
async fn a_silent_api_server_is_noticed() {
    let pki = mk_pki();
    let double = Double::start(&pki).await;
    let world = World::start(&pki, &format!("127.0.0.1:{}", double.port)).await;
    world.until_condition(LinkCondition::Connected).await;
    double.fault(Fault::Silent);
    world.until_condition(LinkCondition::Unreachable).await;
    double.fault(Fault::None);
    world.until_condition(LinkCondition::Connected).await;
    world.stop().await;
}
