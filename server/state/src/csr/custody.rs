//! Certificate requests of a detached cluster: a custodian tells what it saw, the log decides, a custodian says so to the cluster.
//! The rules are those of every other cluster.

use super::{CsrDecision, CsrLook};
use crate::{
    ClusterId, Refusal, State, VerbOf,
    command::{DecideCsr, drop_errands},
    limits,
    record::{Custody, ErrandKind, JudgedRequest, RequestsSeen, SeenRequest, Verdict},
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
        let before = self.clusters.get(id).and_then(|cluster| cluster.custody.as_ref());
        let known = before.map(|custody| custody.passed_over.clone()).unwrap_or_default();
        let mut custody = Custody { passed_over: seen.passed_over, looked_ms: context.now_ms, ..Custody::default() };
        let (mut judged, mut ripe) = (Vec::new(), Vec::new());
        for mut request in seen.requests {
            if let Some(name) = self.line_name_of(id, &request.claim) {
                match seen.nodes.get(name) {
                    Some(is_ready) => request.claim.node_is_ready = *is_ready,
                    // It is denied whatever that Node is.
                    None if matches!(self.judge_csr(id, &request.uid, &request.claim), CsrDecision::Deny(_)) => {}
                    None => {
                        // The next look is at that Node too.
                        if custody.nodes.len() < limits::REQUESTS_NODES_MAX {
                            custody.nodes.insert(name.clone());
                        }
                        continue;
                    }
                }
            }
            // What there is no room to remember is told of again in every look, and must not be said again each time.
            let is_full = custody.passed_over.len() + judged.len() >= limits::REQUESTS_PASSED_MAX;
            if is_full && matches!(self.judge_csr(id, &request.uid, &request.claim), CsrDecision::Wait(_)) {
                continue;
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
        // A look that brought nothing new is not followed by the next one at once.
        custody.more = seen.more && (!custody.verdicts.is_empty() || !custody.passed_over.is_subset(&known));
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

    /// What a custodian is to say to the cluster now.
    pub fn verdicts_due(&self, id: &ClusterId) -> &[Verdict] {
        let custody = self.clusters.get(id).and_then(|cluster| cluster.custody.as_ref());
        custody.map(|custody| custody.verdicts.as_slice()).unwrap_or_default()
    }

    /// Each of these was decided, and is to be said.
    pub(crate) fn are_due(&self, id: &ClusterId, verdicts: &[Verdict]) -> bool {
        let due = self.verdicts_due(id);
        !verdicts.is_empty() && verdicts.iter().all(|verdict| due.contains(verdict))
    }

    /// These were said to the cluster, or it did not take them because the requests had changed.
    pub(crate) fn conclude_seen(&mut self, id: &ClusterId, said: &[Verdict]) {
        self.keep_verdicts(id, |verdict| !said.contains(verdict));
    }

    /// Approvals of these requests are not said any more, not by an errand that is under way either: their node was locked, removed or
    /// has failed, or their token was taken back. The next look decides anew.
    pub(crate) fn recall_approvals(&mut self, id: &ClusterId, requests: &[JudgedRequest]) {
        let is_recalled =
            |verdict: &Verdict| verdict.approve && requests.iter().any(|request| request.uid == verdict.uid);
        self.keep_verdicts(id, |verdict| !is_recalled(verdict));
        drop_errands(self, |errand| match &errand.kind {
            ErrandKind::ConcludeRequests(verdicts) => errand.cluster == *id && verdicts.iter().any(is_recalled),
            ErrandKind::ApplyTokens(_)
            | ErrandKind::DeleteTokens(_)
            | ErrandKind::UploadCertificates
            | ErrandKind::ListEtcdMembers(_)
            | ErrandKind::ObserveRequests { .. } => false,
        });
    }

    fn keep_verdicts(&mut self, id: &ClusterId, is_kept: impl Fn(&Verdict) -> bool) {
        let custody = self.clusters.get_mut(id).and_then(|cluster| cluster.custody.as_mut());
        custody.into_iter().for_each(|custody| custody.verdicts.retain(|verdict| is_kept(verdict)));
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
