//! Certificate requests of a detached cluster: a custodian tells what it saw, the log decides, a custodian says so to the cluster.
//! The rules are those of every other cluster.

use std::collections::BTreeSet;

use super::{CsrDecision, CsrLook};
use crate::{
    ClusterId, Refusal, State, VerbOf,
    command::DecideCsr,
    limits,
    record::{Custody, RequestsSeen, SeenRequest, Verdict},
    state::Context,
};

/// Whether a request has been held for long enough.
enum Ripeness {
    /// It has not, or is not held.
    None,
    /// It has, when the look was asked for.
    Full,
    /// It has since then.
    Late,
}

impl RequestsSeen {
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        let is_bounded = self.requests.len() <= limits::REQUESTS_SEEN_MAX
            && self.passed_over.len() <= limits::REQUESTS_PASSED_MAX
            && self.nodes.len() <= limits::REQUESTS_NODES_MAX
            && self.requests.iter().all(|seen| seen.version.len() <= limits::CLAIM_MAX)
            && self.passed_over.iter().all(|uid| uid.len() <= limits::CLAIM_MAX);
        if is_bounded {
            Ok(())
        } else {
            Err(Refusal::invalid("requests", "tells of more than any custodian is asked for"))
        }
    }
}

impl State {
    /// Decides upon all that a custodian saw. What was decided before and not yet said is among it, and decided anew: a node
    /// may be locked by now. The look was asked for at `asked_ms`, so that it was not before.
    pub(crate) fn decide_seen(&mut self, id: &ClusterId, seen: RequestsSeen, asked_ms: u64, context: Context) {
        let mut custody =
            Custody { passed_over: seen.passed_over, looked_ms: context.now_ms, more: seen.more, ..Custody::default() };
        let (mut judged, mut ripe) = (Vec::new(), Vec::new());
        for mut request in seen.requests {
            if let Some(name) = self.line_name_of(id, &request.claim) {
                match seen.nodes.get(name) {
                    Some(is_ready) => request.claim.node_is_ready = *is_ready,
                    // It is denied whatever that Node is.
                    None if matches!(self.judge_csr(id, &request.uid, &request.claim), CsrDecision::Deny(_)) => {}
                    None => {
                        // The next look is at that Node too.
                        custody.more = true;
                        continue;
                    }
                }
            }
            match self.ripeness(id, &request, asked_ms, context.now_ms) {
                Ripeness::None => {
                    let decision = self.decide(id, &request, context);
                    judged.push((request, decision));
                }
                // What has been held for long enough comes after all others that are there.
                Ripeness::Full => ripe.push(request),
                // Somebody may have asked between the look and the time from when on nobody could.
                Ripeness::Late => {}
            }
        }
        for request in ripe {
            let decision = self.decide(id, &request, context);
            judged.push((request, decision));
        }
        for (request, decision) in judged {
            // Two with one token in one look: the second has locked the node, so the first is not approved either.
            let decision = match decision {
                Some(CsrDecision::Approve) => self.decide(id, &request, context),
                other => other,
            };
            custody.take(request, decision);
        }
        if let Some(cluster) = self.clusters.get_mut(id) {
            cluster.custody = Some(custody);
        }
    }

    fn ripeness(&self, id: &ClusterId, seen: &SeenRequest, asked_ms: u64, now_ms: u64) -> Ripeness {
        let is_ripe = |at_ms: u64| self.look_at(id, &seen.uid, &seen.claim, at_ms) == CsrLook::Ripe;
        match (is_ripe(now_ms), is_ripe(asked_ms)) {
            (false, _) => Ripeness::None,
            (true, true) => Ripeness::Full,
            (true, false) => Ripeness::Late,
        }
    }

    /// `None` if the state takes no decision on it: its name is none of Kubernetes.
    fn decide(&mut self, id: &ClusterId, seen: &SeenRequest, context: Context) -> Option<CsrDecision> {
        // What is nobody's business of ours leaves no trace.
        if self.judge_csr(id, &seen.uid, &seen.claim) == CsrDecision::Ignore {
            return Some(CsrDecision::Ignore);
        }
        let SeenRequest { uid, name, digest, claim, .. } = seen.clone();
        VerbOf::apply(DecideCsr { cluster: id.clone(), uid, name, digest, claim }, self, context).ok()
    }

    /// What a custodian is to say to the cluster now. An approval of a node that was locked since is not said: the next look
    /// decides anew.
    pub fn verdicts_due(&self, id: &ClusterId) -> Vec<Verdict> {
        let locked = self.nodes_of(id).filter(|node| node.locked.is_some());
        let withdrawn: BTreeSet<&str> =
            locked.flat_map(|node| &node.requests).map(|request| request.uid.as_str()).collect();
        let custody = self.clusters.get(id).and_then(|cluster| cluster.custody.as_ref());
        let verdicts = custody.into_iter().flat_map(|custody| &custody.verdicts);
        verdicts.filter(|verdict| !verdict.approve || !withdrawn.contains(verdict.uid.as_str())).cloned().collect()
    }

    /// These were said to the cluster, or it did not take them because the requests had changed.
    pub(crate) fn conclude_seen(&mut self, id: &ClusterId, said: &[Verdict]) {
        let custody = self.clusters.get_mut(id).and_then(|cluster| cluster.custody.as_mut());
        custody.into_iter().for_each(|custody| custody.verdicts.retain(|verdict| !said.contains(verdict)));
    }
}

impl Custody {
    fn take(&mut self, seen: SeenRequest, decision: Option<CsrDecision>) {
        let SeenRequest { uid, name, version, .. } = seen;
        let (approve, why) = match decision {
            Some(CsrDecision::Approve) => (true, "it is what the holder of this token was to ask for".to_owned()),
            Some(CsrDecision::Deny(why)) => (false, why),
            Some(CsrDecision::Wait(_) | CsrDecision::Ignore) | None => {
                if self.passed_over.len() < limits::REQUESTS_PASSED_MAX && uid.len() <= limits::CLAIM_MAX {
                    self.passed_over.insert(uid);
                }
                return;
            }
            Some(CsrDecision::Hold(_)) => return,
        };
        self.verdicts.push(Verdict { uid, name, version, approve, why });
    }
}
