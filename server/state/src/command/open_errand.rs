use serde::{Deserialize, Serialize};

use crate::{
    ClusterId, NodeId, Refusal, State, TokenId, limits,
    record::{BootstrapTokenState, CsrApproval, Errand, ErrandKind, ErrandState, Role},
    state::Context,
};

/// Gives a custodian something to do. Replies with its number. An errand that another custodian has left alone for
/// too long is taken over: it may be off, and what it was to do must not wait for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenErrand {
    /// Where.
    pub cluster: ClusterId,
    /// What.
    pub kind: ErrandKind,
    /// Who.
    pub custodian: NodeId,
}

impl OpenErrand {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<u64, Refusal> {
        self.check(state)?;
        let taken = self.taken_over(state);
        let same = |errand: &Errand| errand.cluster == self.cluster && errand.kind.overlaps(&self.kind);
        let failed = |errand: &Errand| errand.state == ErrandState::Failed && same(errand);
        let failures = state.errands.values().filter(|errand| failed(errand)).map(|errand| errand.failures).max();
        state.errands.retain(|_, errand| !failed(errand));
        taken.into_iter().for_each(|number| leave_undone(state, number));
        if let ErrandKind::ApplyTokens(tokens) = &self.kind {
            for id in tokens {
                if let Some(token) = state.bootstrap_tokens.get_mut(id) {
                    match token.state {
                        BootstrapTokenState::Present => token.begin_renewal(context.now_ms),
                        BootstrapTokenState::Minted | BootstrapTokenState::Ending | BootstrapTokenState::Deleted => {
                            token.expires_ms = context.now_ms.saturating_add(token.ttl_ms);
                        }
                    }
                }
            }
        }
        state.last_errand += 1;
        let errand = Errand {
            number: state.last_errand,
            cluster: self.cluster,
            kind: self.kind,
            custodian: self.custodian.clone(),
            state: ErrandState::Open,
            created_ms: context.now_ms,
            failures: failures.unwrap_or_default(),
            retry_at_ms: 0,
            released_to: None,
        };
        state.errands.insert(errand.number, errand);
        state.touch(&self.custodian);
        Ok(state.last_errand)
    }

    fn check(&self, state: &State) -> Result<(), Refusal> {
        state.cluster(&self.cluster)?;
        let node = state.node(&self.custodian)?;
        let is_fit = node.locked.is_none()
            && node.is_proven()
            && node.has_joined()
            && node.placement().is_some_and(|place| place.cluster == self.cluster && place.role == Role::ControlPlane);
        if !is_fit {
            let problem = "only a joined control plane is custodian".into();
            return Err(Refusal::WrongPhase { phase: node.phase, problem });
        }
        self.check_tokens(state)?;
        self.check_requests(state)?;
        match state.errand_in_the_way(&self.cluster, &self.kind, &self.custodian, state.now_ms) {
            None => Ok(()),
            Some(other) => Err(Refusal::Exists { kind: "errand".into(), name: other.step_id() }),
        }
    }

    fn check_tokens(&self, state: &State) -> Result<(), Refusal> {
        let tokens = self.kind.tokens();
        if tokens.len() > limits::ERRAND_TOKENS_MAX {
            let limit = limits::ERRAND_TOKENS_MAX as u64;
            return Err(Refusal::Full { what: "tokens of one errand".into(), limit });
        }
        let is_wanted = |token: &TokenId| {
            let record = state.bootstrap_tokens.get(token).filter(|record| record.cluster == self.cluster);
            record.is_some_and(|record| match (&self.kind, record.state) {
                (ErrandKind::ApplyTokens(_), BootstrapTokenState::Minted | BootstrapTokenState::Present) => true,
                (ErrandKind::DeleteTokens(_), BootstrapTokenState::Ending) => true,
                (ErrandKind::ApplyTokens(_) | ErrandKind::DeleteTokens(_), _) => false,
                (
                    ErrandKind::UploadCertificates
                    | ErrandKind::ListEtcdMembers(_)
                    | ErrandKind::ObserveRequests { .. }
                    | ErrandKind::ConcludeRequests(_),
                    _,
                ) => true,
            })
        };
        match tokens.iter().find(|token| !is_wanted(token)) {
            None => Ok(()),
            Some(token) => Err(Refusal::invalid("tokens", format!("{token} is not to be applied, or not to be deleted"))),
        }
    }

    /// Only where a custodian looks after requests, and only what was decided is said.
    fn check_requests(&self, state: &State) -> Result<(), Refusal> {
        if !self.kind.is_of_requests() {
            return Ok(());
        }
        let spec = &state.cluster(&self.cluster)?.spec;
        if spec.link.is_some() || spec.csr_approval() == CsrApproval::Auto {
            return Err(Refusal::invalid("kind", "no custodian approves certificate requests of this cluster"));
        }
        match &self.kind {
            ErrandKind::ObserveRequests { passed_over, nodes } => {
                if passed_over.len() > limits::REQUESTS_PASSED_MAX || nodes.len() > limits::REQUESTS_NODES_MAX {
                    let limit = limits::REQUESTS_PASSED_MAX as u64;
                    return Err(Refusal::Full { what: "requests to be passed over".into(), limit });
                }
                Ok(())
            }
            ErrandKind::ConcludeRequests(verdicts) if !state.are_due(&self.cluster, verdicts) => {
                Err(Refusal::invalid("verdicts", "are not, or no longer, those that were decided"))
            }
            ErrandKind::ConcludeRequests(_)
            | ErrandKind::ApplyTokens(_)
            | ErrandKind::DeleteTokens(_)
            | ErrandKind::UploadCertificates
            | ErrandKind::ListEtcdMembers(_) => Ok(()),
        }
    }

    fn taken_over(&self, state: &State) -> Vec<u64> {
        let open = state.errands.values().filter(|errand| {
            errand.state == ErrandState::Open && errand.cluster == self.cluster && errand.kind.overlaps(&self.kind)
        });
        open.map(|errand| errand.number).collect()
    }
}

/// Ends an errand that its custodian did not do in time: another is preferred from now on.
fn leave_undone(state: &mut State, number: u64) {
    let Some(errand) = state.errands.remove(&number) else { return };
    if let Some(node) = state.nodes.get_mut(&errand.custodian) {
        node.missed_errands += 1;
    }
    let text = format!("errand {number} was left undone and goes to another custodian");
    state.node_event(true, "ErrandTakenOver", text, &errand.custodian);
    state.touch(&errand.custodian);
}

/// Drops open errands; a late report on one says nothing. Its custodian is told that it is off.
pub(crate) fn drop_errands(state: &mut State, is_moot: impl Fn(&Errand) -> bool) {
    let open = state.errands.values().filter(|errand| errand.state == ErrandState::Open && is_moot(errand));
    let dropped: Vec<(u64, NodeId)> = open.map(|errand| (errand.number, errand.custodian.clone())).collect();
    for (number, custodian) in dropped {
        state.errands.remove(&number);
        state.touch(&custodian);
    }
}
