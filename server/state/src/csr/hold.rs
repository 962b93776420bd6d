//! The strict mode: a request that is right is held, its token is ended, and it is approved when nobody can have made another one
//! with it. If a second one comes before that, the token is in two hands, and both are denied.

use super::{CsrClaim, CsrDecision, Judgement};
use crate::{
    ClusterId, State, TokenId, limits,
    record::{
        BootstrapToken, BootstrapTokenState, Cluster, CsrApproval, Hold, JudgedRequest, Node, Step, StepState, Verb,
    },
};

/// Words of kubeadm's output from the start of the kubelet on, in a join that is made in one call.
const FROM_THE_KUBELET_ON: [&str; 3] = ["kubelet-start", "kubelet-wait-bootstrap", "etcd"];

/// A request that is right, as far as it has come.
pub(super) struct Way<'a> {
    /// What it was made with.
    pub(super) token: &'a BootstrapToken,
    /// What became of it before.
    pub(super) seen: Option<&'a JudgedRequest>,
    pub(super) now_ms: u64,
    /// Its machine says that its kubelet has started, so that this may be its request; if it is another's, its own comes too.
    pub(super) machine_is_there: bool,
}

impl Way<'_> {
    fn hold(&self) -> Hold {
        self.seen.map(|seen| seen.hold).unwrap_or_default()
    }

    /// Its token is good for it: it works, or it was ended because of this very request.
    pub(super) fn is_open(&self) -> bool {
        match self.hold() {
            // The Secret is there before the state knows of it; but its node gets it after.
            Hold::Never | Hold::Early | Hold::Settling => self.token.is_live(self.now_ms),
            // Of one that has run out meanwhile nobody has seen the Secret go, and its cluster's clock may be another.
            Hold::Ending | Hold::Passed => self.token.deleted_ms < self.token.expires_ms,
        }
    }

    /// Approved, or held where the cluster is strict and its time has not come.
    pub(super) fn go_on(&self, cluster: &Cluster, approved: Judgement) -> Judgement {
        let is_strict = cluster.spec.csr_approval() == CsrApproval::Strict;
        let was_approved = self.seen.is_some_and(|seen| seen.approved);
        let (why, hold) = match self.hold() {
            Hold::Never if !is_strict || was_approved => return approved,
            Hold::Passed => return Judgement { hold: Hold::Passed, ..approved },
            Hold::Early | Hold::Settling | Hold::Ending if !is_strict || self.is_forgotten() => {
                return Judgement { hold: Hold::Passed, ..approved };
            }
            Hold::Never | Hold::Early if !self.machine_is_there => {
                ("its machine has not said yet that its kubelet starts", Hold::Early)
            }
            Hold::Never | Hold::Early => ("its token is about to be ended", Hold::Settling),
            Hold::Settling if !self.has_settled() => ("its token is about to be ended", Hold::Settling),
            Hold::Settling | Hold::Ending => ("its token must be gone, and forgotten by all API servers", Hold::Ending),
        };
        Judgement { decision: CsrDecision::Hold(why.to_owned()), hold, ..approved }
    }

    fn has_settled(&self) -> bool {
        self.seen.is_some_and(|seen| self.now_ms >= seen.at_ms.saturating_add(limits::HOLD_SETTLES_MS))
    }

    /// Nobody gets in with its token any more.
    fn is_forgotten(&self) -> bool {
        self.hold() == Hold::Ending && self.token.forgotten_at_ms().is_some_and(|at_ms| self.now_ms >= at_ms)
    }
}

/// What is to be done about a request that may be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CsrLook {
    /// It is held, and goes on being held.
    Waits,
    /// So it does, and its token is gone: API servers are forgetting it.
    Fading,
    /// It was held, and would be approved: all requests there are have to be decided upon first.
    Ripe,
    /// Anything else: it is to be decided upon.
    Due,
}

impl State {
    /// What is to be done at that time about a request that may be held. Time passes without commands, so it is the caller's;
    /// what counts is the stamp of the command that follows.
    #[must_use]
    pub fn look_at_csr(&self, cluster: &ClusterId, uid: &str, claim: &CsrClaim, now_ms: u64) -> CsrLook {
        self.look_at(cluster, uid, claim, now_ms.max(self.now_ms))
    }

    pub(super) fn look_at(&self, cluster: &ClusterId, uid: &str, claim: &CsrClaim, at_ms: u64) -> CsrLook {
        let judgement = self.judgement(cluster, uid, claim, at_ms);
        let hold = self.hold_of(&judgement, uid);
        match judgement.decision {
            CsrDecision::Hold(_) if hold == judgement.hold => match self.is_gone(judgement.token.as_ref()) {
                true => CsrLook::Fading,
                false => CsrLook::Waits,
            },
            CsrDecision::Approve if hold.is_on() => CsrLook::Ripe,
            CsrDecision::Hold(_)
            | CsrDecision::Approve
            | CsrDecision::Deny(_)
            | CsrDecision::Wait(_)
            | CsrDecision::Ignore => CsrLook::Due,
        }
    }

    fn is_gone(&self, token: Option<&TokenId>) -> bool {
        let token = token.and_then(|token| self.bootstrap_tokens.get(token));
        token.is_some_and(|token| token.forgotten_at_ms().is_some())
    }

    /// How far it was when it was judged last.
    fn hold_of(&self, judgement: &Judgement, uid: &str) -> Hold {
        let node = judgement.node.as_ref().and_then(|id| self.nodes.get(id)).map(|node| &node.requests);
        let line = || Some(&self.bootstrap_tokens.get(judgement.token.as_ref()?)?.requests);
        let seen =
            node.or_else(line).and_then(|all| all.iter().find(|seen| seen.uid == uid && seen.token == judgement.token));
        seen.map(|seen| seen.hold).unwrap_or_default()
    }

    /// A request that came with that token is held.
    #[must_use]
    pub fn holds_for(&self, token: &BootstrapToken) -> bool {
        let node = token.purpose.node().and_then(|node| self.nodes.get(node)).map(|node| &node.requests);
        let mut seen = node.unwrap_or(&token.requests).iter();
        seen.any(|seen| seen.token.as_ref() == Some(&token.id) && seen.hold.is_on())
    }

    /// What was held because of that token is not any more: an operator has taken it back. Whether anything was.
    pub(crate) fn drop_holds(&mut self, token: &TokenId) -> bool {
        let of_nodes = self.nodes.values_mut().flat_map(|node| &mut node.requests);
        let of_lines = self.bootstrap_tokens.get_mut(token).into_iter().flat_map(|token| &mut token.requests);
        let held = of_nodes.chain(of_lines).filter(|seen| seen.token.as_ref() == Some(token) && seen.hold.is_on());
        held.map(|seen| seen.hold = Hold::Never).count() > 0
    }
}

impl BootstrapToken {
    /// From when on nobody gets in with it; `None` while it is, or may be, in the cluster.
    #[must_use]
    pub fn forgotten_at_ms(&self) -> Option<u64> {
        let is_gone = self.state == BootstrapTokenState::Deleted && self.deleted_ms != 0;
        is_gone.then(|| self.deleted_ms.saturating_add(limits::TOKEN_FORGOTTEN_MS))
    }
}

impl Node {
    /// Its agent has said that kubeadm has come to where the machine's own kubelet asks for its certificate, or is beyond.
    pub(crate) fn has_come_to_its_kubelet(&self) -> bool {
        self.steps.iter().any(|step| match step.verb {
            Verb::JoinWorker | Verb::JoinWhole => has_started_kubelet(step),
            // The kubelet of a control plane that joins in steps asks its own API server, which needs its own etcd.
            Verb::JoinEtcd | Verb::JoinFinish => matches!(step.state, StepState::Running | StepState::Done),
            Verb::Init | Verb::Custodian | Verb::JoinPrepare | Verb::WaitReady | Verb::Reset => false,
        })
    }
}

fn has_started_kubelet(step: &Step) -> bool {
    step.state == StepState::Running && FROM_THE_KUBELET_ON.contains(&step.phase.as_str())
}
