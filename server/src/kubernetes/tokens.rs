//! Bootstrap tokens as Secrets: made when a node is ready for its own, deleted when it has joined. Muster sees no Secret; it knows
//! the names of its own.

use std::{convert::Infallible, time::Duration};

use http::{Method, Request};
use kube::Client;
use muster_state::{
    ClusterId, State, TokenId,
    command::{MoveTokens, TokenStep},
    record::{BootstrapToken, BootstrapTokenState, LinkCondition},
};
use zeroize::Zeroizing;

use super::{follow::answer, trouble::Trouble};
use crate::{
    kubeadm::token_secret::{NAMESPACE, object_name},
    operations::{Unsealed, token_object},
};

/// Tokens of one round: the first nodes are told to go on while the rest is made.
const ROUND: usize = 64;
/// Looked for this often, beside every change.
const TICK: Duration = Duration::from_secs(5);

/// Makes and deletes tokens until something goes wrong.
pub(super) async fn keep(client: Client, server: &Unsealed, cluster: &ClusterId) -> Result<Infallible, Trouble> {
    let mut watch = server.ledger.watch();
    loop {
        let made = make(&client, server, cluster).await?;
        let deleted = delete(&client, server, cluster).await?;
        if made + deleted > 0 {
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            changed = watch.any() => if changed.is_err() { return Err(Trouble::Undecided("the server stops".into())) },
        }
    }
}

/// Some tokens of the cluster in that state, except the one that `kubeadm init` makes itself.
fn some(state: &State, cluster: &ClusterId, wanted: BootstrapTokenState) -> Vec<TokenId> {
    let first = state.clusters.get(cluster).and_then(|cluster| cluster.first_token.as_ref());
    let own = |token: &&BootstrapToken| {
        token.cluster == *cluster
            && token.state == wanted
            && (wanted != BootstrapTokenState::Minted || first != Some(&token.id))
    };
    state.bootstrap_tokens.values().filter(own).take(ROUND).map(|token| token.id.clone()).collect()
}

async fn step(server: &Unsealed, cluster: &ClusterId, tokens: &[TokenId], to: TokenStep) -> Result<(), Trouble> {
    Ok(server.ledger.propose(MoveTokens { cluster: cluster.clone(), tokens: tokens.to_vec(), to }).await?)
}

async fn make(client: &Client, server: &Unsealed, cluster: &ClusterId) -> Result<usize, Trouble> {
    let tokens = server.ledger.read(|state| some(state, cluster, BootstrapTokenState::Minted));
    if tokens.is_empty() {
        return Ok(0);
    }
    step(server, cluster, &tokens, TokenStep::Offered).await?;
    let mut present = Vec::new();
    let mut outcome = Ok(());
    for id in &tokens {
        // As the log has it now: its expiry stands in the Secret. One that was ended meanwhile is not made.
        let record = server.ledger.read(|state| {
            let token = state.bootstrap_tokens.get(id).filter(|token| token.state == BootstrapTokenState::Minted)?;
            Some((token.clone(), state.clusters.get(cluster)?.spec.clone()))
        });
        let Some((record, spec)) = record else { continue };
        let (secret, _token) = token_object::render(server, &spec, &record)
            .map_err(|err| Trouble::down(LinkCondition::Failing, format!("bootstrap token {id}: {err:#}")))?;
        outcome = put(client, id, Zeroizing::new(secret.to_json().expose().as_bytes().to_vec())).await;
        if outcome.is_err() {
            break;
        }
        present.push(id.clone());
    }
    // What was made is noted, whatever happened after.
    if !present.is_empty() {
        step(server, cluster, &present, TokenStep::Present).await?;
    }
    outcome.map(|()| present.len())
}

/// Creates the Secret; one of that name that is there already is an earlier try of the same, and is replaced.
async fn put(client: &Client, id: &TokenId, body: Zeroizing<Vec<u8>>) -> Result<(), Trouble> {
    let all = format!("/api/v1/namespaces/{NAMESPACE}/secrets");
    match call(client, Method::POST, &all, body.clone()).await {
        Err(Trouble::Conflict) => call(client, Method::PUT, &one(id), body).await,
        other => other,
    }
}

async fn delete(client: &Client, server: &Unsealed, cluster: &ClusterId) -> Result<usize, Trouble> {
    let tokens = server.ledger.read(|state| some(state, cluster, BootstrapTokenState::Ending));
    let mut gone = Vec::new();
    let mut outcome = Ok(());
    for id in &tokens {
        outcome = match call(client, Method::DELETE, &one(id), Zeroizing::default()).await {
            Err(Trouble::Absent) => Ok(()),
            other => other,
        };
        if outcome.is_err() {
            break;
        }
        gone.push(id.clone());
    }
    if !gone.is_empty() {
        step(server, cluster, &gone, TokenStep::Deleted).await?;
    }
    outcome.map(|()| gone.len())
}

fn one(id: &TokenId) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/secrets/{}", object_name(id.as_str()))
}

/// Asks without reading the answer's object: it would hold the token, and be quoted if it could not be read.
async fn call(client: &Client, method: Method, path: &str, body: Zeroizing<Vec<u8>>) -> Result<(), Trouble> {
    let what = format!("{method} of a bootstrap token");
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let request = request.body(body.to_vec()).map_err(|err| Trouble::down(LinkCondition::Failing, err.to_string()))?;
    let text = answer(&what, client.request_text(request)).await?;
    drop(Zeroizing::new(text));
    Ok(())
}
