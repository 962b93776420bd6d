//! Bootstrap tokens as Secrets: made when a node is ready for its own, deleted when it has joined. Muster sees no Secret; it knows
//! the names of its own.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use http::Method;
use kube::Client;
use muster_state::{
    ClusterId, NodeId, State, TokenId,
    command::{CompareTokens, MoveTokens, TokenStep},
    limits,
    record::{BootstrapToken, BootstrapTokenState, LinkCondition, Node, TokenDifference},
};
use zeroize::Zeroizing;

use super::{nodes, secrets, signatures::Unsigned, trouble::Trouble};
use crate::{
    clock::now_ms,
    kubeadm::token_secret::object_name,
    operations::{
        Unsealed,
        token_object::{self, TokenObject},
    },
};

/// Tokens of one round: the first nodes are told to go on while the rest is made.
const ROUND: usize = 64;
/// Looked for this often, beside every change.
const TICK: Duration = Duration::from_secs(5);

/// Makes and deletes tokens until something goes wrong.
pub(super) async fn keep(client: Client, server: &Unsealed, cluster: &ClusterId) -> Result<Infallible, Trouble> {
    let (mut watch, mut unsigned) = (server.ledger.watch(), Unsigned::default());
    let mut looked = Instant::now();
    loop {
        if looked.elapsed() >= TICK {
            look_again(&client, server, cluster).await?;
            looked = Instant::now();
        }
        let made = make(&client, server, cluster, &mut unsigned).await?;
        let deleted = delete(&client, server, cluster).await?;
        let renewed = renew(&client, server, cluster).await?;
        let signed = unsigned.look(&client, server, cluster).await?;
        note(server, cluster, &signed, TokenStep::Present).await?;
        if made + deleted + renewed + signed.len() > 0 {
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(unsigned.pause().unwrap_or(TICK).min(TICK)) => {}
            changed = watch.any() => if changed.is_err() { return Err(Trouble::Undecided("the server stops".into())) },
        }
    }
}

/// Some tokens of the cluster in that state, except the one that `kubeadm init` makes itself.
fn some(
    state: &State,
    cluster: &ClusterId,
    wanted: BootstrapTokenState,
    also: impl Fn(&TokenId) -> bool,
) -> Vec<TokenId> {
    let first = state.clusters.get(cluster).and_then(|cluster| cluster.first_token.as_ref());
    let own = |token: &&BootstrapToken| {
        token.cluster == *cluster
            && token.state == wanted
            && (wanted != BootstrapTokenState::Minted || first != Some(&token.id))
            && also(&token.id)
    };
    state.bootstrap_tokens.values().filter(own).take(ROUND).map(|token| token.id.clone()).collect()
}

/// Whether names that were taken still are.
async fn look_again(client: &Client, server: &Unsealed, cluster: &ClusterId) -> Result<(), Trouble> {
    let taken = |state: &State| {
        let waits = |id: &TokenId| holder(state, id).is_some_and(Node::finds_its_name_taken);
        holders(state, &some(state, cluster, BootstrapTokenState::Minted, waits))
    };
    for id in server.ledger.read(taken) {
        nodes::look(client, &server.ledger, cluster, &id).await?;
    }
    Ok(())
}

fn holders(state: &State, tokens: &[TokenId]) -> Vec<NodeId> {
    tokens.iter().filter_map(|token| holder(state, token)).map(|node| node.id.clone()).collect()
}

/// The node that the token is for.
fn holder<'a>(state: &'a State, token: &TokenId) -> Option<&'a Node> {
    state.nodes.get(state.bootstrap_tokens.get(token)?.purpose.node()?)
}

async fn note(server: &Unsealed, cluster: &ClusterId, tokens: &[TokenId], to: TokenStep) -> Result<(), Trouble> {
    for part in tokens.chunks(limits::ERRAND_TOKENS_MAX) {
        server.ledger.propose(MoveTokens { cluster: cluster.clone(), tokens: part.to_vec(), to }).await?;
    }
    Ok(())
}

/// Has the log say in what one of them differs.
async fn differ(server: &Unsealed, cluster: &ClusterId, id: &TokenId, word: TokenDifference) -> Result<(), Trouble> {
    let tokens = [(id.clone(), Some(word))].into();
    Ok(server.ledger.propose(CompareTokens { cluster: cluster.clone(), tokens }).await?)
}

/// Makes some Secrets. Those that need no signature are there then; the others are once they are signed.
async fn make(
    client: &Client,
    server: &Unsealed,
    cluster: &ClusterId,
    unsigned: &mut Unsigned,
) -> Result<usize, Trouble> {
    let minted = |state: &State| {
        let waits = |id: &TokenId| !unsigned.has(id) && !holder(state, id).is_some_and(Node::finds_its_name_taken);
        some(state, cluster, BootstrapTokenState::Minted, waits)
    };
    let tokens = server.ledger.read(minted);
    for id in server.ledger.read(|state| holders(state, &tokens)) {
        nodes::look(client, &server.ledger, cluster, &id).await?;
    }
    // Of those whose name turned out to be taken none is made.
    let tokens = server.ledger.read(minted);
    note(server, cluster, &tokens, TokenStep::Offered).await?;
    let (mut made, mut present) = (0, Vec::new());
    let mut outcome = Ok(());
    for id in &tokens {
        // One that was ended meanwhile is not made.
        let object = object(server, cluster, id, |token| token.state == BootstrapTokenState::Minted)?;
        let Some(object) = object else { continue };
        outcome = put(client, id, object.secret.to_body()).await;
        if outcome == Err(Trouble::Conflict) {
            // What is in its place is none of Muster's, and stays.
            outcome = differ(server, cluster, id, TokenDifference::Foreign).await;
            continue;
        }
        if outcome.is_err() {
            break;
        }
        made += 1;
        if object.signing {
            unsigned.add(id.clone(), object.token);
        } else {
            present.push(id.clone());
        }
    }
    // What was made is noted, whatever happened after.
    note(server, cluster, &present, TokenStep::Present).await?;
    outcome.map(|()| made)
}

/// Gives a later end to Secrets whose nodes are not through yet.
async fn renew(client: &Client, server: &Unsealed, cluster: &ClusterId) -> Result<usize, Trouble> {
    let is_there = |node: &Node| node.attached.is_some();
    let due = |state: &State| -> Vec<TokenId> {
        state.tokens_to_renew(cluster, now_ms(), is_there).take(ROUND).cloned().collect()
    };
    let tokens = server.ledger.read(due);
    note(server, cluster, &tokens, TokenStep::Renewing).await?;
    let (mut renewed, mut outcome) = (Vec::new(), Ok(()));
    for id in &tokens {
        let Some(object) = object(server, cluster, id, |token| token.renewal_ms != 0)? else { continue };
        outcome = call(client, Method::PUT, &one(id), object.secret.to_body()).await;
        match &outcome {
            Ok(()) => renewed.push(id.clone()),
            Err(Trouble::Absent) => outcome = differ(server, cluster, id, TokenDifference::Missing).await,
            Err(Trouble::Rejected(_)) => outcome = differ(server, cluster, id, TokenDifference::Foreign).await,
            Err(_) => {}
        }
        if outcome.is_err() {
            break;
        }
    }
    note(server, cluster, &renewed, TokenStep::Renewed).await?;
    outcome.map(|()| renewed.len())
}

/// The Secret of a token as the log has it now, its end included; `None` if it is not due any more.
fn object(
    server: &Unsealed,
    cluster: &ClusterId,
    id: &TokenId,
    is_due: impl Fn(&BootstrapToken) -> bool,
) -> Result<Option<TokenObject>, Trouble> {
    let record = server.ledger.read(|state| {
        let token = state.bootstrap_tokens.get(id).filter(|token| is_due(token))?;
        Some((token.clone(), state.clusters.get(cluster)?.spec.clone()))
    });
    let object = record.map(|(record, spec)| token_object::render(server, &spec, &record)).transpose();
    object.map_err(|err| Trouble::down(LinkCondition::Failing, format!("bootstrap token {id}: {err:#}")))
}

/// Creates the Secret; one of that name that is there already is an earlier try of the same, and is replaced. If the cluster
/// does not let the link replace it, it is somebody else's: a conflict.
async fn put(client: &Client, id: &TokenId, body: Zeroizing<Vec<u8>>) -> Result<(), Trouble> {
    match call(client, Method::POST, &secrets::all(), body.clone()).await {
        Err(Trouble::Conflict) => match call(client, Method::PUT, &one(id), body).await {
            Err(Trouble::Rejected(_)) => Err(Trouble::Conflict),
            other => other,
        },
        other => other,
    }
}

async fn delete(client: &Client, server: &Unsealed, cluster: &ClusterId) -> Result<usize, Trouble> {
    let tokens = server.ledger.read(|state| some(state, cluster, BootstrapTokenState::Ending, |_| true));
    let mut gone = Vec::new();
    let mut outcome = Ok(());
    for id in &tokens {
        outcome = match call(client, Method::DELETE, &one(id), Zeroizing::default()).await {
            // Or what is there is somebody else's.
            Err(Trouble::Absent | Trouble::Rejected(_)) => Ok(()),
            other => other,
        };
        if outcome.is_err() {
            break;
        }
        gone.push(id.clone());
    }
    note(server, cluster, &gone, TokenStep::Deleted).await?;
    outcome.map(|()| gone.len())
}

/// Where its Secret is.
pub(super) fn one(id: &TokenId) -> String {
    secrets::one(&object_name(id.as_str()))
}

/// Asks without looking at what is answered: it holds the token.
pub(super) async fn call(client: &Client, method: Method, path: &str, body: Zeroizing<Vec<u8>>) -> Result<(), Trouble> {
    secrets::call(client, method, path, body).await.map(drop)
}
