use serde::{Deserialize, Serialize};

use super::record_link::check_linked;
use crate::{
    ClusterId, NodeId, Refusal, State,
    etcd::check_removal,
    limits,
    record::{EtcdMember, EtcdProblem, EtcdRemoval, EtcdView, PermitKind, WatchedMember},
    state::Context,
};

/// What the leader saw of a cluster's etcd. The same again changes nothing, so that a quiet etcd does not fill the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObserveEtcd {
    /// The cluster.
    pub cluster: ClusterId,
    /// The last event that was known before etcd was asked: evidence must be younger than what it is about.
    pub after: u64,
    /// What was seen.
    pub seen: EtcdSeen,
}

/// A look at etcd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EtcdSeen {
    /// All members, as a majority of etcd lists them.
    Members(Vec<WatchedMember>),
    /// No answer that counts, and why.
    Nothing(String),
}

impl ObserveEtcd {
    /// Whether it would change anything: only then is it worth an entry.
    pub fn is_news(&self, state: &State) -> bool {
        let Some(cluster) = state.clusters.get(&self.cluster) else { return false };
        let view = cluster.etcd.as_ref();
        match &self.seen {
            EtcdSeen::Nothing(_) => view.is_none_or(|view| view.problem.is_none()),
            EtcdSeen::Members(members) => {
                let is_same = view.is_some_and(|view| view.problem.is_none() && view.members == bounded(members.clone()));
                !is_same || (is_evidence(state, &self.cluster, self.after).is_some() && !members.iter().any(is_learner))
            }
        }
    }

    pub(super) fn apply(self, state: &mut State, context: Context) -> Result<(), Refusal> {
        check_linked(state, &self.cluster)?;
        if !self.is_news(state) {
            return Ok(());
        }
        let members = match self.seen {
            EtcdSeen::Nothing(message) => return nothing(state, &self.cluster, &message, context),
            EtcdSeen::Members(members) => checked(members)?,
        };
        let about = is_evidence(state, &self.cluster, self.after);
        note(state, &self.cluster, &members, context);
        if let Some(about) = about {
            let members: Vec<EtcdMember> = members.into_iter().map(|watched| watched.member).collect();
            judge_members(state, &self.cluster, &about, &members);
        }
        state.refresh_cluster(&self.cluster);
        Ok(())
    }
}

fn is_learner(watched: &WatchedMember) -> bool {
    watched.member.learner
}

/// Whom a look is evidence about, if it is: somebody whose join has ended before whoever looked began to.
fn is_evidence(state: &State, cluster: &ClusterId, after: u64) -> Option<NodeId> {
    let permit = state.clusters.get(cluster)?.permits.get(&PermitKind::EtcdJoin)?;
    permit.holder.clone().filter(|_| permit.evidence_wanted && after >= permit.evidence_after)
}

fn nothing(state: &mut State, id: &ClusterId, message: &str, context: Context) -> Result<(), Refusal> {
    let message = limits::clip(message);
    let text = format!("etcd can't be asked for its members: {message}");
    if let Some(cluster) = state.clusters.get_mut(id) {
        let view = cluster.etcd.get_or_insert_default();
        view.problem = Some(EtcdProblem { message, since_ms: context.now_ms });
    }
    state.event(true, "EtcdUnseen", text, Some(id.clone()), None);
    state.refresh_cluster(id);
    Ok(())
}

fn checked(members: Vec<WatchedMember>) -> Result<Vec<WatchedMember>, Refusal> {
    if members.is_empty() {
        return Err(Refusal::invalid("members", "no etcd is without members"));
    }
    if members.len() > limits::ETCD_MEMBERS_MAX {
        return Err(Refusal::Full { what: "members of one etcd".into(), limit: limits::ETCD_MEMBERS_MAX as u64 });
    }
    Ok(bounded(members))
}

/// As the state keeps them: in one order, and no text without an end.
fn bounded(mut members: Vec<WatchedMember>) -> Vec<WatchedMember> {
    for EtcdMember { id, name, peer_urls, learner: _ } in members.iter_mut().map(|watched| &mut watched.member) {
        peer_urls.truncate(limits::ETCD_URLS_MAX);
        for text in peer_urls.iter_mut().chain([id, name]) {
            *text = limits::clip_to(text, limits::CLAIM_MAX);
        }
    }
    members.sort_by(|a, b| a.member.id.cmp(&b.member.id));
    members
}

/// Takes over what was seen, and ends what was decided about members that are gone, or that are not what they were.
fn note(state: &mut State, id: &ClusterId, members: &[WatchedMember], context: Context) {
    let Some(cluster) = state.clusters.get_mut(id) else { return };
    let view = cluster.etcd.get_or_insert_default();
    if view.members != members {
        (view.members, view.since_ms) = (members.to_vec(), context.now_ms);
    }
    let returned = view.problem.take().is_some();
    let removals = std::mem::take(&mut view.removals);
    let (kept, ended): (Vec<_>, Vec<_>) = removals.into_iter().partition(|removal| end_of(view, removal).is_none());
    let ended: Vec<_> = ended.into_iter().filter_map(|removal| end_of(view, &removal)).collect();
    view.removals = kept;
    if returned {
        state.event(false, "EtcdSeen", "etcd's members are seen again".into(), Some(id.clone()), None);
    }
    for (warning, reason, text) in ended {
        state.event(warning, reason, text, Some(id.clone()), None);
    }
}

/// What ends a decision to take a member out: it is done, or must not be done any more.
fn end_of(view: &EtcdView, removal: &EtcdRemoval) -> Option<(bool, &'static str, String)> {
    let id = &removal.member;
    let Some(watched) = view.member(id) else {
        return Some((false, "EtcdMemberRemoved", format!("etcd member {id} is taken out")));
    };
    let problem = match check_removal(&view.members, id) {
        _ if !removal.by_operator && !watched.is_unstarted_learner() => format!("it is a {} now", watched.describe()),
        Err(problem) => problem,
        Ok(()) => return None,
    };
    Some((true, "EtcdMemberKept", format!("etcd member {id} is not taken out: {problem}")))
}

/// No learner is left: whatever became of the holder, the next one may join.
pub(super) fn judge_members(state: &mut State, cluster: &ClusterId, about: &NodeId, members: &[EtcdMember]) {
    let Some(record) = state.clusters.get_mut(cluster) else { return };
    let name = record.spec.name.clone();
    let linked = record.spec.link.is_some();
    let Some(permit) = record.permits.get_mut(&PermitKind::EtcdJoin) else { return };
    if permit.holder.as_ref() != Some(about) || !permit.evidence_wanted {
        return;
    }
    let learners: Vec<&str> = members.iter().filter(|member| member.learner).map(|member| member.id.as_str()).collect();
    let (reason, text) = if members.is_empty() {
        ("EvidenceMissing", "permit etcd-join is kept: the list of etcd's members came back empty".to_owned())
    } else if learners.is_empty() {
        permit.holder = None;
        permit.evidence_wanted = false;
        ("PermitReleased", "etcd shows no learner".to_owned())
    } else {
        let ids = learners.join(", ");
        let remedy = if linked { format!("`muster etcd remove {name} …`") } else { "etcdctl".to_owned() };
        let text = format!("permit etcd-join is kept: etcd still has learner {ids}; remove it with {remedy} if its machine is gone");
        ("EvidenceMissing", text)
    };
    state.event(reason == "EvidenceMissing", reason, text, Some(cluster.clone()), Some(about.clone()));
}
