use serde::{Deserialize, Serialize};

use super::lock_node::lock_as_copied;
use crate::{
    ClusterId, Digest, NodeId, Refusal, State, TokenId,
    csr::{CsrClaim, CsrDecision, Judgement},
    id::dns1123_subdomain,
    limits,
    record::{BootstrapToken, Hold, JudgedRequest, RequestsTold},
    state::{Change, Context},
};

const MINUTE_MS: u64 = 60_000;

/// Decides upon a certificate request of a cluster, before anything is done about it there. The same request again is judged
/// again: a node may have been locked meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecideCsr {
    /// The cluster.
    pub cluster: ClusterId,
    /// uid of the request's object.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// SHA-256 of the PKCS#10.
    pub digest: Digest,
    /// What it says.
    pub claim: CsrClaim,
}

impl DecideCsr {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<CsrDecision, Refusal> {
        let cluster = state.cluster(&self.cluster)?.id.clone();
        // It stands in commands that people paste.
        dns1123_subdomain(&self.name).map_err(|problem| Refusal::invalid("name", problem))?;
        if self.uid.is_empty() || self.uid.len() > limits::CLAIM_MAX {
            return Err(Refusal::invalid("uid", "must be 1 to 256 characters"));
        }
        let judgement = state.judgement(&cluster, &self.uid, &self.claim, context.now_ms);
        match &judgement.decision {
            CsrDecision::Approve | CsrDecision::Deny(_) | CsrDecision::Hold(_) => {}
            CsrDecision::Wait(why) => {
                let text = format!("certificate request {} waits: {why}; `kubectl certificate approve {}`", self.name, self.name);
                tell(state, &cluster, context, (true, "CsrWaiting", text), judgement.node);
                return Ok(judgement.decision);
            }
            CsrDecision::Ignore => return Ok(judgement.decision),
        }
        let judged = JudgedRequest {
            uid: self.uid.clone(),
            name: self.name.clone(),
            digest: self.digest,
            token: judgement.token.clone(),
            approved: judgement.decision == CsrDecision::Approve,
            at_ms: context.now_ms,
            hold: judgement.hold,
        };
        let is_line = |token: &&TokenId| state.bootstrap_tokens.get(*token).is_some_and(|token| token.purpose.line_name().is_some());
        match (&judgement.node, judgement.token.as_ref().filter(is_line)) {
            (Some(node), _) => self.of_node(state, &node.clone(), judged, &judgement, context),
            (None, Some(token)) => self.of_line(state, &token.clone(), judged, &judgement),
            (None, None) => {
                let (warning, reason) = word(&judgement.decision);
                tell(state, &cluster, context, (warning, reason, self.said(&judgement.decision)), None);
            }
        }
        Ok(judgement.decision)
    }

    fn of_node(
        &self,
        state: &mut State,
        id: &NodeId,
        judged: JudgedRequest,
        judgement: &Judgement,
        context: Context,
    ) {
        // A thief may ask as often as a token still authenticates: after some requests nothing more is told.
        let noted = state.nodes.get_mut(id).map_or(Noted::Nothing, |node| note(&mut node.requests, judged));
        if noted == Noted::News {
            let (warning, reason) = word(&judgement.decision);
            let said = self.said(&judgement.decision);
            match judgement.token {
                Some(_) => state.node_event(warning, reason, said, id),
                None => tell(state, &self.cluster, context, (warning, reason, said), Some(id.clone())),
            }
        }
        end_held(state, judgement);
        if judgement.stolen {
            let token = judgement.token.as_ref().map(ToString::to_string).unwrap_or_default();
            let why = format!("bootstrap token {token} is in other hands as well; certificate request {} was denied", self.name);
            lock_as_copied(state, id, &why);
        }
        if noted != Noted::Nothing || !judgement.hold.is_on() {
            state.touch(id);
        }
    }

    /// What was decided about a join line for one name. There is no node to lock: the token is taken back, and people are told.
    fn of_line(&self, state: &mut State, id: &TokenId, judged: JudgedRequest, judgement: &Judgement) {
        let Some(token) = state.bootstrap_tokens.get_mut(id) else { return };
        let cluster = Some(token.cluster.clone());
        let name = token.purpose.line_name().map(ToString::to_string).unwrap_or_default();
        let is_news = token.state.is_wanted() || is_held_by_another(token, &self.uid);
        let outcome = if token.requests.iter().any(|seen| seen.approved) {
            format!("see whose request was approved before: Node {name} may be another machine than you think")
        } else {
            "nobody has got a certificate with it".to_owned()
        };
        let noted = note(&mut token.requests, judged);
        if noted == Noted::News {
            let (warning, reason) = word(&judgement.decision);
            state.event(warning, reason, self.said(&judgement.decision), cluster.clone(), None);
        }
        end_held(state, judgement);
        if judgement.stolen && is_news {
            state.end_bootstrap_token(id);
            let text = format!(
                "bootstrap token {id} of the join line for {name} is in two hands: certificate request {} was denied and the \
                 token is taken back; {outcome}",
                self.name
            );
            state.event(true, "JoinLineStolen", text, cluster, None);
        }
        if noted != Noted::Nothing || !judgement.hold.is_on() {
            state.changes.push(Change::Other);
        }
    }

    fn said(&self, decision: &CsrDecision) -> String {
        let what = format!("certificate request {} (uid {}, {})", self.name, self.uid, self.digest);
        match decision {
            CsrDecision::Deny(why) => format!("{what} is denied: {why}"),
            CsrDecision::Hold(why) => format!("{what} is held: {why}"),
            CsrDecision::Approve | CsrDecision::Wait(_) | CsrDecision::Ignore => format!("{what} is approved"),
        }
    }
}

/// An event about a request that came with no token of a machine's, unless there were too many within a minute.
fn tell(
    state: &mut State,
    id: &ClusterId,
    context: Context,
    (warning, reason, text): (bool, &str, String),
    node: Option<NodeId>,
) {
    let Some(cluster) = state.clusters.get_mut(id) else { return };
    let told = cluster.requests_told.get_or_insert_default();
    if context.now_ms.saturating_sub(told.since_ms) >= MINUTE_MS {
        *told = RequestsTold { since_ms: context.now_ms, count: 0 };
    }
    told.count = told.count.saturating_add(1);
    let count = told.count;
    if count <= limits::REQUESTS_TOLD_MAX {
        state.event(warning, reason, text, Some(id.clone()), node);
    } else if count == limits::REQUESTS_TOLD_MAX + 1 {
        let text = format!("more than {} certificate requests in a minute; not all are told", limits::REQUESTS_TOLD_MAX);
        state.event(true, "CsrFlood", text, Some(id.clone()), None);
    }
}

/// The token was ended for another request that is held, and nobody knows yet that there are two.
fn is_held_by_another(token: &BootstrapToken, uid: &str) -> bool {
    let mut others = token.requests.iter().filter(|seen| seen.uid != uid);
    others.clone().any(|seen| seen.hold.is_on()) && others.all(|seen| seen.hold.is_on())
}

/// Whether it is a warning, and the word for it.
fn word(decision: &CsrDecision) -> (bool, &'static str) {
    match decision {
        CsrDecision::Deny(_) => (true, "CsrDenied"),
        CsrDecision::Hold(_) => (false, "CsrHeld"),
        CsrDecision::Approve | CsrDecision::Wait(_) | CsrDecision::Ignore => (false, "CsrApproved"),
    }
}

/// The token of a held request ends when the request has settled.
fn end_held(state: &mut State, judgement: &Judgement) {
    if judgement.hold == Hold::Ending {
        judgement.token.iter().for_each(|token| state.end_bootstrap_token(token));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noted {
    /// It was known, or there is no room.
    Nothing,
    /// It was known, and held, and has gone on.
    Step,
    /// Something that nobody has been told.
    News,
}

fn note(requests: &mut Vec<JudgedRequest>, judged: JudgedRequest) -> Noted {
    let is_same = |seen: &&mut JudgedRequest| seen.uid == judged.uid && seen.token == judged.token;
    if let Some(held) = requests.iter_mut().find(is_same).filter(|seen| seen.hold.is_on()) {
        let goes_on = judged.hold.is_on();
        if held.hold == judged.hold {
            return Noted::Nothing;
        }
        *held = judged;
        return if goes_on { Noted::Step } else { Noted::News };
    }
    let same = |seen: &JudgedRequest| seen.uid == judged.uid && (seen.approved, seen.hold) == (judged.approved, judged.hold);
    if requests.iter().any(same) {
        return Noted::Nothing;
    }
    let own = |seen: &JudgedRequest| seen.token == judged.token;
    // Those of the node's own server come and go for ever; of a token the first ones count.
    if requests.iter().filter(|seen| own(seen)).count() >= limits::REQUESTS_KEPT {
        if judged.token.is_some() {
            return Noted::Nothing;
        }
        if let Some(oldest) = requests.iter().position(own) {
            requests.remove(oldest);
        }
    }
    let tokens = requests.iter().filter(|seen| seen.token.is_some()).count();
    if judged.token.is_some() && tokens >= 4 * limits::REQUESTS_KEPT {
        let oldest = requests.iter().position(|seen| seen.token.is_some());
        oldest.into_iter().for_each(|at| drop(requests.remove(at)));
    }
    requests.push(judged);
    Noted::News
}
