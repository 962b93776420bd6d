use super::{Decision, Enrol, duplicates_of};
use crate::{
    NodeId, NodeName, Refusal, State,
    facts::Facts,
    planted::{Bug, is_planted},
    record::{
        Admission, Assurance, ClusterSpec, EnrolmentToken, Node, Placement, Pool, Role, Standing, Suggestion,
        TokenStanding,
    },
    state::Context,
};

impl Enrol {
    /// Where the machine may go, and the token this costs. Changes nothing, so that a refusal leaves no trace.
    pub(super) fn decide(&self, state: &State, context: Context, known: Option<&Node>) -> Result<Decision, Refusal> {
        let id = known.map_or(&self.candidate, |node| &node.id);
        let Some((token, sha256)) = &self.token else {
            return Ok(Decision { standing: self.without_token(state, known, id), redeems: None });
        };
        let Some(record) = state.enrolment_tokens.get(token).filter(|record| record.sha256 == *sha256) else {
            return Err(Refusal::TokenUnknown);
        };
        let has_used = record.used_by.contains(id);
        if has_used && known.is_some() {
            // Its own token once more: a lost answer, not a second use.
            return Ok(Decision { standing: self.without_token(state, known, id), redeems: None });
        }
        check_token(record, context.now_ms)?;
        if has_used {
            // The id of a machine that was removed: given again, nobody could tell the two uses apart.
            return Err(Refusal::Exists { kind: "node".into(), name: id.to_string() });
        }
        let standing = self.standing_for(state, record, id)?;
        Ok(Decision { standing, redeems: Some(token.clone()) })
    }

    fn without_token(&self, state: &State, known: Option<&Node>, id: &NodeId) -> Standing {
        let suggested = match known.map(|node| &node.standing) {
            Some(Standing::Pending { suggested: Some(suggested), .. }) => Some(suggested.clone()),
            Some(_) | None => home(state, &self.facts, id).or_else(|| suggest(state, &self.facts)),
        };
        self.pending(state, suggested, id)
    }

    fn standing_for(&self, state: &State, token: &EnrolmentToken, id: &NodeId) -> Result<Standing, Refusal> {
        let spec = &state.cluster(&token.cluster)?.spec;
        let pool = self.check_fit(spec, token)?;
        let (cluster, name) = (token.cluster.clone(), token.node_name.clone());
        let suggestion = Suggestion { cluster: cluster.clone(), pool: pool.name.clone(), name };
        // Same hardware under new keys is a planned re-join, or a clone: nothing moves before an operator looks.
        if duplicates_of(state, &self.facts, id).next().is_some() {
            let home = home(state, &self.facts, id).filter(|home| {
                let is_its_name = suggestion.name.is_none() || suggestion.name == home.name;
                is_its_name && home.cluster == suggestion.cluster && home.pool == suggestion.pool
            });
            return Ok(self.pending(state, Some(home.unwrap_or(suggestion)), id));
        }
        let (name, assurance) = match (pool.admission, &token.node_name, pool.role) {
            (Admission::Bound, Some(name), _) | (Admission::Token, Some(name), Role::Worker) => {
                (name.clone(), Assurance::Bound)
            }
            (Admission::Token, None, Role::Worker) => (free_name(state, token, pool, &self.facts, id), Assurance::Token),
            (Admission::Approve | Admission::Bound | Admission::Token, _, _) => {
                return Ok(self.pending(state, Some(suggestion), id));
            }
        };
        if let Some(holder) = state.node_named(&cluster, &name) {
            if !holder.is_proven() {
                return Ok(self.pending(state, Some(suggestion), id));
            }
            return Err(Refusal::NameTaken { name, holder: holder.id.to_string() });
        }
        Ok(Standing::Admitted(Placement { cluster, pool: pool.name.clone(), role: pool.role, name, assurance }))
    }

    /// The token is for a machine like this one; gives the pool it is for.
    fn check_fit<'a>(&self, spec: &'a ClusterSpec, token: &EnrolmentToken) -> Result<&'a Pool, Refusal> {
        let mismatch = |problem: String| Err(Refusal::TokenMismatch { token: token.id.clone(), problem });
        let Some(pool) = spec.pool(&token.pool) else {
            return mismatch(format!("its pool {:?} is no more", token.pool));
        };
        let wanted = self.facts.wanted_role.as_str();
        if !wanted.is_empty() && wanted != "auto" && wanted != pool.role.to_string() {
            return mismatch(format!("it is for a {}, the machine asks for {wanted}", pool.role));
        }
        if !token.selector.admits(&self.facts) {
            return mismatch("the machine is not the one its selector names".into());
        }
        let Some(name) = &token.node_name else { return Ok(pool) };
        let asked = self.facts.wanted_node_name.as_str();
        if !asked.is_empty() && asked != name.as_str() {
            return mismatch(format!("it is bound to node {name}, the machine asks for {asked:?}"));
        }
        match spec.named_node(name) {
            Some((its, _)) if its.name != pool.name => {
                mismatch(format!("node {name} is in pool {:?} by now, the token is for {:?}", its.name, pool.name))
            }
            Some((_, node)) if !node.selector.admits(&self.facts) => {
                mismatch("the machine is not the one the cluster file names for this node".into())
            }
            Some(_) | None => Ok(pool),
        }
    }

    fn pending(&self, state: &State, suggested: Option<Suggestion>, id: &NodeId) -> Standing {
        let twin = duplicates_of(state, &self.facts, id).next();
        let conflict = twin.map(|(what, other)| {
            if other.is_proven() {
                return Refusal::DuplicateHardware { what: what.into(), other: other.label() }.to_string();
            }
            self.words_on_return(other, &format!("same {what}"))
        });
        let named = suggested.as_ref().and_then(|to| state.node_named(&to.cluster, to.name.as_ref()?));
        let named = named.filter(|holder| !holder.is_proven()).map(|holder| self.words_on_return(holder, "same name"));
        Standing::Pending { suggested, from: self.from.clone(), conflict: conflict.or(named) }
    }

    /// What an approver must know of a machine that seems to be one from the backup.
    fn words_on_return(&self, record: &Node, what: &str) -> String {
        let key = if record.identity.previous.contains(&self.key) { "this very key" } else { "another key" };
        format!(
            "the backup has {} ({what}) with {key}; if it is that machine, approve it with --replace and it goes on as that",
            record.label()
        )
    }
}

fn check_token(token: &EnrolmentToken, now_ms: u64) -> Result<(), Refusal> {
    match as_decided(token).standing(now_ms) {
        TokenStanding::Live => Ok(()),
        TokenStanding::Spent if is_planted(Bug::SplitRedemption) => Ok(()),
        TokenStanding::Spent => Err(Refusal::TokenSpent(token.id.clone())),
        TokenStanding::Expired => Err(Refusal::TokenExpired(token.id.clone())),
        TokenStanding::Revoked => Err(Refusal::TokenRevoked(token.id.clone())),
    }
}

/// The token that decides: the one in the log's own state.
#[cfg(not(feature = "planted-bug-split-redemption"))]
fn as_decided(token: &EnrolmentToken) -> &EnrolmentToken {
    token
}

/// A planted bug, to show that the tests would see it: the token as the proposer read it before, when nobody had used
/// it yet. That is redemption split into a read and a write.
#[cfg(feature = "planted-bug-split-redemption")]
fn as_decided(token: &EnrolmentToken) -> EnrolmentToken {
    EnrolmentToken { used_by: Vec::new(), ..token.clone() }
}

/// Where a machine of this hardware was before the fleet was restored.
fn home(state: &State, facts: &Facts, id: &NodeId) -> Option<Suggestion> {
    let twins = duplicates_of(state, facts, id).map(|(_, other)| other);
    let place = twins.filter(|other| !other.is_proven()).find_map(Node::placement)?;
    Some(Suggestion { cluster: place.cluster.clone(), pool: place.pool.clone(), name: Some(place.name.clone()) })
}

/// The record that these claims select, for the approver's convenience. Grants nothing.
fn suggest(state: &State, facts: &Facts) -> Option<Suggestion> {
    let fits = |selector: &crate::facts::Selector| !selector.is_empty() && selector.admits(facts);
    state.clusters.values().find_map(|cluster| {
        cluster.spec.pools.iter().find_map(|pool| {
            let named = pool.nodes.iter().find(|node| fits(&node.selector)).map(|node| node.name.clone());
            let selected = named.is_some() || fits(&pool.selector);
            selected.then(|| Suggestion { cluster: cluster.id.clone(), pool: pool.name.clone(), name: named })
        })
    })
}

/// A worker's name under a pool token: the operator's for this hardware, else one made from pool and id. The claimed
/// host name is not used: a name must never come from a claim.
fn free_name(state: &State, token: &EnrolmentToken, pool: &Pool, facts: &Facts, id: &NodeId) -> NodeName {
    let is_free = |name: &NodeName| state.node_named(&token.cluster, name).is_none();
    let mut listed = pool.nodes.iter().filter(|node| !node.selector.is_empty() && node.selector.admits(facts));
    let listed = listed.find(|node| is_free(&node.name));
    listed.map_or_else(|| NodeName::made(&pool.name, id), |node| node.name.clone())
}
