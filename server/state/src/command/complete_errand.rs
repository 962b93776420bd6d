use serde::{Deserialize, Serialize};

use crate::{
    ClusterId, NodeId, Refusal, State, limits,
    record::{BootstrapTokenState, ErrandKind, ErrandState, EtcdMember, PermitKind},
    state::Context,
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
    /// It did not work; the agent goes on trying.
    Failed(String),
}

impl CompleteErrand {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        let Some(errand) = state.errands.get_mut(&self.number) else {
            // Swept or reassigned: a late report has nothing to say.
            return Ok(());
        };
        if errand.state == ErrandState::Done || errand.custodian != self.node {
            return Ok(());
        }
        let members = match self.outcome {
            ErrandOutcome::Failed(message) => {
                errand.failures += 1;
                let text = format!("errand {}: {message}", self.number);
                state.node_event(true, "ErrandFailed", text, &self.node);
                return Ok(());
            }
            ErrandOutcome::Done(members) => members,
        };
        if matches!(errand.kind, ErrandKind::ListEtcdMembers(_)) && members.is_none() {
            return Err(Refusal::invalid("etcd_members", "this errand is done only with a list of members"));
        }
        errand.state = ErrandState::Done;
        let (kind, cluster) = (errand.kind.clone(), errand.cluster.clone());
        match kind {
            ErrandKind::ApplyTokens(tokens) => {
                for id in &tokens {
                    let token = state.bootstrap_tokens.get_mut(id);
                    if let Some(token) = token.filter(|token| token.state == BootstrapTokenState::Minted) {
                        token.state = BootstrapTokenState::Present;
                    }
                }
            }
            ErrandKind::DeleteTokens(tokens) => {
                for id in &tokens {
                    if let Some(token) = state.bootstrap_tokens.get_mut(id) {
                        token.state = BootstrapTokenState::Deleted;
                    }
                }
                let ids: Vec<&str> = tokens.iter().map(crate::TokenId::as_str).collect();
                let text = format!("bootstrap tokens {} are deleted", ids.join(", "));
                state.event(false, "TokensDeleted", text, Some(cluster.clone()), None);
            }
            ErrandKind::UploadCertificates => {
                if let Some(record) = state.clusters.get_mut(&cluster) {
                    record.certificates_uploaded_ms = context.now_ms;
                }
            }
            ErrandKind::ListEtcdMembers(about) => judge_members(state, &cluster, &about, &members.unwrap_or_default()),
        }
        forget_old(state, &cluster);
        state.touch(&self.node);
        state.touch_cluster(&cluster);
        Ok(())
    }
}

/// No learner is left: whatever became of the holder, the next one may join.
fn judge_members(state: &mut State, cluster: &ClusterId, about: &NodeId, members: &[EtcdMember]) {
    let learners: Vec<&str> = members.iter().filter(|member| member.learner).map(|member| member.id.as_str()).collect();
    let unsettled = !learners.is_empty() || members.is_empty();
    let ids = learners.join(", ");
    let Some(record) = state.clusters.get_mut(cluster) else { return };
    let Some(permit) = record.permits.get_mut(&PermitKind::EtcdJoin) else { return };
    if permit.holder.as_ref() != Some(about) || !permit.evidence_wanted {
        return;
    }
    if unsettled {
        let text = format!("permit etcd-join is kept: etcd still has learner {ids}; remove it with etcdctl if its machine is gone");
        state.event(true, "EvidenceMissing", text, Some(cluster.clone()), Some(about.clone()));
        return;
    }
    permit.holder = None;
    permit.evidence_wanted = false;
    state.event(false, "PermitReleased", "etcd shows no learner".into(), Some(cluster.clone()), Some(about.clone()));
}

fn forget_old(state: &mut State, cluster: &ClusterId) {
    let done: Vec<u64> = state.errands.values()
        .filter(|errand| errand.cluster == *cluster && errand.state == ErrandState::Done)
        .map(|errand| errand.number)
        .collect();
    for number in done.iter().rev().skip(limits::DONE_ERRANDS_KEPT) {
        state.errands.remove(number);
    }
}
