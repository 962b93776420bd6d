//! Whether tokens that are to be discovered with are signed: a kubeadm that finds no signature of its token in `cluster-info` says
//! nothing for five minutes. The controller manager's bootstrap signer signs; here is only looked.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use muster_state::{
    ClusterId, TokenId,
    command::CompareTokens,
    limits,
    record::{BootstrapTokenState, TokenDifference},
};

use super::{call::answer, trouble::Trouble};
use crate::{
    kubeadm::{
        discovery::{CLUSTER_INFO, CLUSTER_INFO_KEY, CLUSTER_INFO_NAMESPACE},
        jws,
        token::BootstrapToken,
    },
    operations::Unsealed,
};

/// The signer takes a fraction of a second; this much later something is wrong with it.
const SIGNED_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks while a signature may come at any moment. One look is for all tokens.
const LOOK: Duration = Duration::from_millis(300);
/// Between two looks for those that are overdue.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Tokens whose Secret was made and whose signature has not been seen. No more than the state has tokens, which is bounded.
#[derive(Default)]
pub(super) struct Unsigned {
    waiting: BTreeMap<TokenId, Waiting>,
    looked: Option<Instant>,
}

struct Waiting {
    token: BootstrapToken,
    made: Instant,
}

/// What `cluster-info` shows.
enum Shown {
    /// Its data.
    Data(BTreeMap<String, String>),
    /// Nothing: there is none.
    Nothing,
    /// The link may not read it.
    Hidden,
}

impl Unsigned {
    /// Its Secret has been made.
    pub(super) fn add(&mut self, id: TokenId, token: BootstrapToken) {
        if self.waiting.is_empty() {
            self.looked = Some(Instant::now());
        }
        self.waiting.insert(id, Waiting { token, made: Instant::now() });
    }

    /// Its Secret has been made, and is not to be made again.
    pub(super) fn has(&self, id: &TokenId) -> bool {
        self.waiting.contains_key(id)
    }

    /// How long to wait before the next look; `None` if there is nothing to look for.
    pub(super) fn pause(&self) -> Option<Duration> {
        let youngest = self.waiting.values().map(|waiting| waiting.made).max()?;
        let pause = if youngest.elapsed() < SIGNED_WITHIN { LOOK } else { LOOK_AGAIN };
        Some(self.looked.map_or(Duration::ZERO, |looked| pause.saturating_sub(looked.elapsed())))
    }

    /// Looks, if it is time to: gives the tokens that are signed, and has the log say which are overdue.
    pub(super) async fn look(
        &mut self,
        client: &Client,
        server: &Unsealed,
        cluster: &ClusterId,
    ) -> Result<Vec<TokenId>, Trouble> {
        // One that was ended meanwhile is deleted; one that ran out, and its Secret with it, is made again.
        let now_ms = crate::clock::now_ms();
        server.ledger.read(|state| {
            self.waiting.retain(|id, _| {
                let token = state.bootstrap_tokens.get(id);
                token.is_some_and(|token| token.state == BootstrapTokenState::Minted && now_ms < token.expires_ms)
            });
        });
        if self.pause() != Some(Duration::ZERO) {
            return Ok(Vec::new());
        }
        let shown = read(client).await?;
        self.looked = Some(Instant::now());
        let signed: Vec<TokenId> =
            self.waiting.iter().filter(|(_, waiting)| shown.signs(&waiting.token)).map(|(id, _)| id.clone()).collect();
        self.waiting.retain(|id, _| !signed.contains(id));
        self.tell(server, cluster, &shown).await?;
        Ok(signed)
    }

    async fn tell(&self, server: &Unsealed, cluster: &ClusterId, shown: &Shown) -> Result<(), Trouble> {
        let word = Some(match shown {
            Shown::Data(_) | Shown::Nothing => TokenDifference::Unsigned,
            Shown::Hidden => TokenDifference::Unreadable,
        });
        let overdue = self.waiting.iter().filter(|(_, waiting)| waiting.made.elapsed() >= SIGNED_WITHIN);
        let news: Vec<TokenId> = server.ledger.read(|state| {
            let is_news = |id: &&TokenId| state.bootstrap_tokens.get(*id).is_some_and(|token| token.differs != word);
            overdue.map(|(id, _)| id).filter(is_news).cloned().collect()
        });
        for part in news.chunks(limits::ERRAND_TOKENS_MAX) {
            let tokens = part.iter().map(|id| (id.clone(), word)).collect();
            server.ledger.propose(CompareTokens { cluster: cluster.clone(), tokens }).await?;
        }
        Ok(())
    }
}

impl Shown {
    fn signs(&self, token: &BootstrapToken) -> bool {
        let Self::Data(data) = self else { return false };
        let signature = data.get(&jws::data_key(token.id()));
        let content = data.get(CLUSTER_INFO_KEY);
        content.zip(signature).is_some_and(|(content, signature)| jws::verify_detached(signature, content, token))
    }
}

/// A link whose rights were installed before it had to read this goes on with all else.
async fn read(client: &Client) -> Result<Shown, Trouble> {
    let all: Api<ConfigMap> = Api::namespaced(client.clone(), CLUSTER_INFO_NAMESPACE);
    match answer(CLUSTER_INFO, all.get(CLUSTER_INFO)).await {
        Ok(object) => Ok(Shown::Data(object.data.unwrap_or_default())),
        Err(Trouble::Absent) => Ok(Shown::Nothing),
        Err(trouble) if trouble.is_forbidden() => Ok(Shown::Hidden),
        Err(other) => Err(other),
    }
}
