//! Whether the cluster has the tokens that the records say it has, and has got rid of those that have ended. No Secret is read for
//! that: whether one is there is what a deletion that is only tried says.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    time::Duration,
};

use http::Method;
use kube::Client;
use muster_state::{
    ClusterId, State, TokenId,
    command::CompareTokens,
    record::{BootstrapToken, BootstrapTokenState, TokenDifference},
};
use zeroize::Zeroizing;

use super::{
    tokens::{call, one},
    trouble::Trouble,
};
use crate::{clock::now_ms, operations::Unsealed};

/// Between two rounds.
const ROUND: Duration = Duration::from_secs(10 * 60);
/// Tokens asked about before the log is told and a pause is made.
const PART: usize = 50;
/// So that ten thousand tokens are looked at within four minutes, with 50 calls a second.
const PAUSE: Duration = Duration::from_secs(1);
/// An ended token is looked for once more after this: what the leader before sent last has arrived by then, or is given up.
const SETTLED_MS: u64 = 15 * 1000;
/// And no later than this, so that each is asked about once or twice. What has run out is deleted by the cluster itself anyway.
const LATELY_MS: u64 = 60 * 60 * 1000;

/// Compares at once and every ten minutes, until something goes wrong.
pub(super) async fn keep(client: Client, server: &Unsealed, cluster: &ClusterId) -> Result<Infallible, Trouble> {
    let mut swept = BTreeSet::new();
    loop {
        let asked = server.ledger.read(|state| asked(state, cluster, &swept, now_ms()));
        for part in asked.chunks(PART) {
            let mut tokens = Vec::new();
            for (id, state) in part {
                let differs = ask(&client, id, *state).await?;
                tokens.push((id.clone(), differs));
                if *state == BootstrapTokenState::Deleted {
                    swept.insert(id.clone());
                }
            }
            tell(server, cluster, tokens).await?;
            tokio::time::sleep(PAUSE).await;
        }
        server.ledger.read(|state| swept.retain(|id| state.bootstrap_tokens.contains_key(id)));
        tokio::time::sleep(ROUND).await;
    }
}

/// Tokens that should be there, and those that lately have come to their end.
fn asked(
    state: &State,
    cluster: &ClusterId,
    swept: &BTreeSet<TokenId>,
    now_ms: u64,
) -> Vec<(TokenId, BootstrapTokenState)> {
    let is_asked = |token: &&BootstrapToken| match token.state {
        BootstrapTokenState::Present => token.is_live(now_ms),
        BootstrapTokenState::Deleted => {
            let since_ms = now_ms.saturating_sub(token.deleted_ms);
            token.deleted_ms != 0 && (SETTLED_MS..LATELY_MS).contains(&since_ms) && !swept.contains(&token.id)
        }
        // On their way in and out.
        BootstrapTokenState::Minted | BootstrapTokenState::Ending => false,
    };
    let tokens = state.bootstrap_tokens.values().filter(|token| token.cluster == *cluster).filter(is_asked);
    tokens.map(|token| (token.id.clone(), token.state)).collect()
}

/// One that should be there is not touched. One that has ended is deleted if it is there after all.
async fn ask(client: &Client, id: &TokenId, state: BootstrapTokenState) -> Result<Option<TokenDifference>, Trouble> {
    let has_ended = state == BootstrapTokenState::Deleted;
    let path = if has_ended { one(id) } else { format!("{}?dryRun=All", one(id)) };
    match call(client, Method::DELETE, &path, Zeroizing::default()).await {
        Ok(()) => Ok(has_ended.then_some(TokenDifference::LeftOver)),
        Err(Trouble::Absent) => Ok((!has_ended).then_some(TokenDifference::Missing)),
        // Somebody else's is left alone.
        Err(Trouble::Rejected(_)) => Ok((!has_ended).then_some(TokenDifference::Foreign)),
        Err(other) => Err(other),
    }
}

/// Only what is news.
async fn tell(
    server: &Unsealed,
    cluster: &ClusterId,
    seen: Vec<(TokenId, Option<TokenDifference>)>,
) -> Result<(), Trouble> {
    let news = server.ledger.read(|state| {
        let is_news = |(id, differs): &(TokenId, Option<TokenDifference>)| {
            state.bootstrap_tokens.get(id).is_some_and(|token| token.differs != *differs)
        };
        seen.into_iter().filter(is_news).collect::<BTreeMap<_, _>>()
    });
    if news.is_empty() {
        return Ok(());
    }
    Ok(server.ledger.propose(CompareTokens { cluster: cluster.clone(), tokens: news }).await?)
}
