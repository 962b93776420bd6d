//! The strict mode against a real API server, which remembers for ten seconds whom a token stands for.

use muster_state::record::{BootstrapTokenState, LinkCondition};
use serde_json::Value;

use super::{
    real::{Lab, install_rights, lab_at, pki, secrets},
    strict::become_strict,
    world::{World, pkcs10, until},
};

const PORT: u16 = 17_483;

/// Whether the API server knows who shows that token.
fn authenticates(lab: &Lab, token: &str) -> bool {
    lab.kubectl(Some(token), &["auth", "whoami"], &Value::Null).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_real_kubernetes_a_request_is_approved_when_its_token_lets_nobody_in_and_it_was_the_only_one() {
    let Some(lab) = lab_at(PORT) else { return };
    install_rights(&lab);
    let world = World::start(&pki(&lab), &format!("127.0.0.1:{PORT}")).await;
    world.until_condition(LinkCondition::Connected).await;
    become_strict(&world).await;
    let mut joining = Vec::new();
    for name in ["w1", "w2", "w3"] {
        let (id, token) = world.worker(&format!("machine-{name}"), name).await;
        world.joins(&id, &token).await;
        world.is_at(&id, "kubelet-start").await;
        joining.push((id, token.clone(), world.whole_token(&token)));
    }
    let post = |at: usize, name: &str, of: &str| lab.post(&joining[at].2, name, &pkcs10(of, "system:nodes"));
    // A thief is first; the machine's own comes when the token is deleted, and is let in.
    post(1, "w2-stolen", "system:node:w2").unwrap();
    world.until_token(&joining[1].1, BootstrapTokenState::Deleted).await;
    assert!(!secrets(&lab).contains(&format!("bootstrap-token-{}", joining[1].1)));
    post(1, "w2-own", "system:node:w2").unwrap();
    // The other way round, before it is deleted.
    post(2, "w3-own", "system:node:w3").unwrap();
    post(2, "w3-stolen", "system:node:w3").unwrap();
    post(0, "w1", "system:node:w1").unwrap();
    for name in ["w2-stolen", "w2-own", "w3-own", "w3-stolen"] {
        lab.until_verdict(name, "Denied").await;
        assert!(lab.csr(name)["status"]["certificate"].is_null());
    }
    assert!(joining[1..].iter().all(|(id, ..)| world.node(id).locked.is_some()));
    lab.until_verdict("w1", "Approved").await;
    assert!(!authenticates(&lab, &joining[0].2) && post(0, "w1-late", "system:node:w1").is_err());
    until("a certificate", async || {
        let status = lab.csr("w1")["status"].clone();
        if status["certificate"].is_string() { Ok(()) } else { Err(status) }
    })
    .await;
    assert!(world.node(&joining[0].0).locked.is_none());
    world.stop().await;
}
