use serde::{Deserialize, Serialize};

use super::lock_node::lock_as_copied;
use crate::{
    ClusterId, Digest, Refusal, State, TokenId,
    csr::{CsrClaim, CsrDecision, Judgement},
    id::dns1123_subdomain,
    limits,
    record::JudgedRequest,
    state::{Change, Context},
};

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
        let Judgement { decision, node, token, stolen } = state.judgement(&cluster, &self.uid, &self.claim);
        let approved = match &decision {
            CsrDecision::Approve => true,
            CsrDecision::Deny(_) => false,
            CsrDecision::Wait(why) => {
                let text = format!("certificate request {} waits: {why}; `kubectl certificate approve {}`", self.name, self.name);
                state.event(true, "CsrWaiting", text, Some(cluster), node);
                return Ok(decision);
            }
            CsrDecision::Ignore => return Ok(decision),
        };
        let judged = JudgedRequest {
            uid: self.uid.clone(),
            name: self.name.clone(),
            digest: self.digest,
            token: token.clone(),
            approved,
            at_ms: context.now_ms,
        };
        let Some(id) = node else {
            let line = token.filter(|token| state.bootstrap_tokens.get(token).is_some_and(|token| token.purpose.line_name().is_some()));
            let reason = if approved { "CsrApproved" } else { "CsrDenied" };
            match line {
                Some(token) => of_line(state, &token, judged, stolen, said(&self, &decision)),
                None => state.event(!approved, reason, said(&self, &decision), Some(cluster), None),
            }
            return Ok(decision);
        };
        // A thief may ask as often as a token still authenticates: after some requests nothing more is told.
        if state.nodes.get_mut(&id).is_some_and(|node| note(&mut node.requests, judged)) {
            let reason = if approved { "CsrApproved" } else { "CsrDenied" };
            state.node_event(!approved, reason, said(&self, &decision), &id);
        }
        if stolen {
            let token = token.map(|token| token.to_string()).unwrap_or_default();
            let why = format!("bootstrap token {token} is in other hands as well; certificate request {} was denied", self.name);
            lock_as_copied(state, &id, &why);
        }
        state.touch(&id);
        Ok(decision)
    }
}

/// What was decided about a join line for one name. There is no node to lock: the token is taken back, and people are told.
fn of_line(state: &mut State, id: &TokenId, judged: JudgedRequest, stolen: bool, said: String) {
    let Some(token) = state.bootstrap_tokens.get_mut(id) else { return };
    let cluster = Some(token.cluster.clone());
    let name = token.purpose.line_name().map(ToString::to_string).unwrap_or_default();
    let lives = token.state.is_wanted();
    let (approved, request) = (judged.approved, judged.name.clone());
    if note(&mut token.requests, judged) {
        let reason = if approved { "CsrApproved" } else { "CsrDenied" };
        state.event(!approved, reason, said, cluster.clone(), None);
    }
    if stolen && lives {
        state.end_bootstrap_token(id);
        let text = format!(
            "bootstrap token {id} of the join line for {name} is in two hands: certificate request {request} was denied and the \
             token is taken back; see whose request was approved before: Node {name} may be another machine than you think"
        );
        state.event(true, "JoinLineStolen", text, cluster, None);
    }
    state.changes.push(Change::Other);
}

fn said(csr: &DecideCsr, decision: &CsrDecision) -> String {
    let what = format!("certificate request {} (uid {}, {})", csr.name, csr.uid, csr.digest);
    match decision {
        CsrDecision::Deny(why) => format!("{what} is denied: {why}"),
        CsrDecision::Approve | CsrDecision::Wait(_) | CsrDecision::Ignore => format!("{what} is approved"),
    }
}

/// Whether anything was noted.
fn note(requests: &mut Vec<JudgedRequest>, judged: JudgedRequest) -> bool {
    let same = |seen: &JudgedRequest| seen.uid == judged.uid && seen.approved == judged.approved;
    if requests.iter().any(same) {
        return false;
    }
    let own = |seen: &JudgedRequest| seen.token == judged.token;
    // Those of the node's own server come and go for ever; of a token the first ones count.
    if requests.iter().filter(|seen| own(seen)).count() >= limits::REQUESTS_KEPT {
        if judged.token.is_some() {
            return false;
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
    true
}
