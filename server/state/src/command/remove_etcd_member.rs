use serde::{Deserialize, Serialize};

use super::record_link::check_linked;
use crate::{ClusterId, Refusal, State, etcd::check_removal, limits, record::EtcdRemoval, state::Context};

/// An operator's word that a member is to be taken out of etcd, a voter too. Refused where etcd would not go on without it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveEtcdMember {
    /// The cluster.
    pub cluster: ClusterId,
    /// Id of the member, hex.
    pub member: String,
    /// Why; kept in the events.
    pub reason: String,
}

impl RemoveEtcdMember {
    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        check_linked(state, &self.cluster)?;
        let cluster = state.cluster(&self.cluster)?;
        let Some(view) = cluster.etcd.as_ref() else {
            return Err(Refusal::Etcd("etcd's members have not been seen yet".into()));
        };
        if let Some(problem) = &view.problem {
            let text = format!("etcd can't be asked for its members: {}; use etcdctl on a control plane", problem.message);
            return Err(Refusal::Etcd(text));
        }
        let Some(watched) = view.member(&self.member) else {
            return Err(Refusal::not_found("etcd member", &self.member));
        };
        check_removal(&view.members, &self.member).map_err(Refusal::Etcd)?;
        // The members that remain are counted after each.
        if let Some(other) = view.removals.iter().find(|removal| removal.member != self.member) {
            return Err(Refusal::Etcd(format!("member {} is being taken out; wait until it is gone", other.member)));
        }
        let reason = if self.reason.is_empty() { "no reason given" } else { &self.reason };
        let text = format!("{} is taken out by an operator: {}", watched.describe(), limits::clip(reason));
        if decide(state, &self.cluster, &self.member, true, context) {
            state.event(true, "EtcdMemberRemoval", text, Some(self.cluster.clone()), None);
            state.refresh_cluster(&self.cluster);
        }
        Ok(())
    }
}

/// Notes that a member is to be taken out; false if that is decided already.
pub(super) fn decide(state: &mut State, id: &ClusterId, member: &str, by_operator: bool, context: Context) -> bool {
    let view = state.clusters.get_mut(id).and_then(|cluster| cluster.etcd.as_mut());
    let Some(view) = view.filter(|view| view.removal(member).is_none()) else { return false };
    view.removals.push(EtcdRemoval { member: member.to_owned(), by_operator, since_ms: context.now_ms });
    true
}
