use serde::{Deserialize, Serialize};

use super::observe_etcd::judge_members;
use crate::{
    ClusterId, NodeId, Refusal, State, TokenId,
    failure::backoff_ms,
    limits,
    record::{BootstrapToken, BootstrapTokenState, ErrandKind, ErrandState, EtcdMember, RequestsSeen},
    state::{Change, Context},
};

/// A custodian's report on an errand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompleteErrand {
    /// Which one.
    pub number: u64,
    /// Who reports.
    pub node: NodeId,
    /// What happened.
    pub outcome: ErrandOutcome,
}

/// What became of an errand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrandOutcome {
    /// It is done; with etcd's members where those were asked for.
    Done(Option<Vec<EtcdMember>>),
    /// Certificate requests were looked for, and these are pending.
    Requests(RequestsSeen),
    /// It did not work; it is planned anew under another number after a pause.
    Failed(String),
}

impl CompleteErrand {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        if let Some(reason) = state.nodes.get(&self.node).and_then(|node| node.locked.as_ref()) {
            return Err(Refusal::Locked(reason.clone()));
        }
        let errand = state.errands.get(&self.number);
        let Some(errand) = errand.filter(|errand| errand.state == ErrandState::Open && errand.custodian == self.node)
        else {
            // Swept or reassigned: a late report has nothing to say.
            return Ok(());
        };
        let (kind, cluster, asked_ms) = (errand.kind.clone(), errand.cluster.clone(), errand.created_ms);
        match self.outcome {
            ErrandOutcome::Done(None) if matches!(kind, ErrandKind::ListEtcdMembers(_)) => {
                let problem = "this errand is done only with a list of members";
                return Err(Refusal::invalid("etcd_members", problem));
            }
            ErrandOutcome::Done(_) if matches!(kind, ErrandKind::ObserveRequests { .. }) => {
                return Err(Refusal::invalid("requests", "this errand is done only with a list of requests"));
            }
            ErrandOutcome::Requests(_) if !matches!(kind, ErrandKind::ObserveRequests { .. }) => {
                return Err(Refusal::invalid("requests", "were not asked for"));
            }
            ErrandOutcome::Requests(seen) => {
                seen.check()?;
                close(state, self.number, &self.node);
                state.decide_seen(&cluster, seen, asked_ms, context);
            }
            ErrandOutcome::Done(members) => {
                close(state, self.number, &self.node);
                carry_out(state, &cluster, kind, &members.unwrap_or_default(), context);
            }
            ErrandOutcome::Failed(message) => {
                // What the cluster does not take must not hold up all others: the next look decides anew.
                if let ErrandKind::ConcludeRequests(verdicts) = &kind {
                    state.conclude_seen(&cluster, verdicts);
                }
                failed(state, self.number, &self.node, &message, context);
            }
        }
        forget_old(state, &cluster);
        state.changes.push(Change::Other);
        state.touch(&self.node);
        state.refresh_cluster(&cluster);
        Ok(())
    }
}

fn close(state: &mut State, number: u64, custodian: &NodeId) {
    // Looks are many, and their traces are on nodes and tokens.
    if state.errands.get(&number).is_some_and(|errand| errand.kind.is_of_requests()) {
        state.errands.remove(&number);
    }
    if let Some(errand) = state.errands.get_mut(&number) {
        errand.state = ErrandState::Done;
    }
    if let Some(node) = state.nodes.get_mut(custodian) {
        node.missed_errands = 0;
    }
}

fn failed(state: &mut State, number: u64, custodian: &NodeId, message: &str, context: Context) {
    if let Some(errand) = state.errands.get_mut(&number) {
        errand.failures = errand.failures.saturating_add(1);
        errand.state = ErrandState::Failed;
        errand.retry_at_ms = context.now_ms.saturating_add(backoff_ms(errand.failures));
    }
    if let Some(node) = state.nodes.get_mut(custodian) {
        node.missed_errands = node.missed_errands.saturating_add(1);
    }
    state.node_event(true, "ErrandFailed", format!("errand {number}: {message}"), custodian);
}

/// What follows from an errand that is done.
fn carry_out(state: &mut State, cluster: &ClusterId, kind: ErrandKind, members: &[EtcdMember], context: Context) {
    match kind {
        ErrandKind::ApplyTokens(tokens) => {
            // One that was ended meanwhile stays ended: a deletion follows.
            move_tokens(state, &tokens, BootstrapTokenState::Minted, BootstrapTokenState::Present);
            for id in &tokens {
                state.bootstrap_tokens.get_mut(id).into_iter().for_each(BootstrapToken::end_renewal);
            }
        }
        ErrandKind::DeleteTokens(tokens) => {
            delete_tokens(state, &tokens, context.now_ms);
            let ids: Vec<&str> = tokens.iter().map(TokenId::as_str).collect();
            let text = format!("bootstrap tokens {} are deleted", ids.join(", "));
            state.event(false, "TokensDeleted", text, Some(cluster.clone()), None);
        }
        ErrandKind::UploadCertificates => {
            if let Some(record) = state.clusters.get_mut(cluster) {
                record.certificates_uploaded_ms = context.now_ms;
            }
        }
        ErrandKind::ListEtcdMembers(about) => judge_members(state, cluster, &about, members),
        ErrandKind::ConcludeRequests(said) => state.conclude_seen(cluster, &said),
        // Done with a list, which has been taken.
        ErrandKind::ObserveRequests { .. } => {}
    }
}

pub(super) fn move_tokens(state: &mut State, tokens: &[TokenId], from: BootstrapTokenState, to: BootstrapTokenState) {
    for id in tokens {
        if let Some(token) = state.bootstrap_tokens.get_mut(id).filter(|token| token.state == from) {
            token.state = to;
            token.differs = None;
        }
    }
}

/// Their Secrets are gone.
pub(super) fn delete_tokens(state: &mut State, tokens: &[TokenId], now_ms: u64) {
    for id in tokens {
        let token = state.bootstrap_tokens.get_mut(id);
        if let Some(token) = token.filter(|token| token.state == BootstrapTokenState::Ending) {
            (token.state, token.differs, token.deleted_ms) = (BootstrapTokenState::Deleted, None, now_ms);
        }
    }
}

fn forget_old(state: &mut State, cluster: &ClusterId) {
    let closed = state.errands.values().filter(|errand| errand.cluster == *cluster && errand.state != ErrandState::Open);
    let closed: Vec<u64> = closed.map(|errand| errand.number).collect();
    for number in closed.iter().rev().skip(limits::DONE_ERRANDS_KEPT) {
        state.errands.remove(number);
    }
}
