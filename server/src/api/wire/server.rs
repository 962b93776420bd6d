//! Muster's own servers as operators see them: what the state says they are to be, and what the group of them says they
//! are.

use muster_proto::admin::v1::{Server as Wire, ServerList};
use muster_state::{
    State,
    record::{ServerRecord, ServerStanding},
};

use super::time::timestamp;
use crate::ledger::{Member, Role, Status};

/// A member that has not answered the leader for this long is shown as unreachable.
const SILENT_MS: u64 = 3_000;

/// Which servers are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// This one, whatever became of it.
    One(u64),
    /// All that are, or are to be, or still have to go.
    Present,
    /// Those that are gone too.
    All,
}

/// A list of servers: by the one that answers, `own`, with the group as `seen` by itself or by the leader.
pub fn list(state: &State, own: &Status, seen: &Status, which: Which, stale: bool) -> ServerList {
    ServerList {
        items: items(state, seen, which),
        stale,
        answered_by: own.id,
        leader_id: seen.leader.unwrap_or_default(),
        raft_term: seen.term,
        applied_index: own.applied_index.unwrap_or_default(),
    }
}

/// The servers, by id.
pub fn items(state: &State, status: &Status, which: Which) -> Vec<Wire> {
    let mut ids: Vec<u64> = state.servers.keys().chain(status.members.keys()).copied().collect();
    ids.sort_unstable();
    ids.dedup();
    let is_meant = |id: &u64| match which {
        Which::One(one) => *id == one,
        Which::All => true,
        Which::Present => {
            let is_gone = state.servers.get(id).is_some_and(|server| server.standing.is_removed());
            !is_gone || status.members.contains_key(id)
        }
    };
    ids.into_iter().filter(is_meant).map(|id| render(state, status, id)).collect()
}

/// One server; with its id alone if nothing is known of it.
pub fn render(state: &State, status: &Status, id: u64) -> Wire {
    let (record, member) = (state.servers.get(&id), status.members.get(&id));
    let (word, message) = standing(status, id, record, member);
    let role = member.map(|member| if member.voter { "voter" } else { "learner" });
    let place = Place::of(status, id, member);
    let of_group = Wire {
        id,
        address: member.map(|member| member.peer.address.clone()).unwrap_or_default(),
        state: word.into(),
        message,
        role: role.unwrap_or_default().into(),
        term: place.term,
        index: place.index,
        lag_entries: place.lag,
        silence_ms: member.and_then(|member| member.silence_ms),
        has_data_keys: state.holds_data_keys(id),
        ..Wire::default()
    };
    match record {
        Some(record) => with_record(of_group, record),
        None => of_group,
    }
}

fn with_record(of_group: Wire, record: &ServerRecord) -> Wire {
    let fingerprint = record.key.to_string();
    let next = match record.standing {
        ServerStanding::Pending => format!("muster server approve {} --fingerprint {fingerprint}", record.id),
        ServerStanding::Learner | ServerStanding::Voter | ServerStanding::Removed { .. } => String::new(),
    };
    Wire {
        address: record.address.clone(),
        wanted: record.standing.to_string(),
        version: record.version.clone(),
        key_fingerprint: fingerprint,
        generation: record.generation,
        requested_from: record.from.clone(),
        requested: timestamp(record.requested_ms),
        seen: timestamp(record.seen_ms),
        since: timestamp(record.since_ms),
        certificate_not_after: record.certificate.as_ref().and_then(|issued| timestamp(issued.not_after_ms)),
        enrolment_urls: record.urls.enrolment.clone(),
        node_urls: record.urls.nodes.clone(),
        operator_urls: record.urls.operators.clone(),
        next,
        ..of_group
    }
}

/// The closed word for where it is, and a sentence where that is not where it should be.
fn standing(
    status: &Status,
    id: u64,
    record: Option<&ServerRecord>,
    member: Option<&Member>,
) -> (&'static str, String) {
    let wanted = record.map(|record| record.standing);
    match (wanted, member) {
        (Some(ServerStanding::Removed { .. }), Some(_)) => {
            ("Removing", "the leader takes it out of the group as soon as that is safe".into())
        }
        (Some(ServerStanding::Removed { .. }), None) => {
            ("Removed", "its id is never used again; a new `muster server join` gives its machine another one".into())
        }
        (Some(ServerStanding::Pending), _) => {
            ("Pending", "compare its key fingerprint with its own console, then approve it".into())
        }
        (Some(ServerStanding::Learner | ServerStanding::Voter), None) => approved(record),
        (None, None) => ("Unknown", String::new()),
        (_, Some(member)) => in_group(status, id, wanted, member),
    }
}

fn approved(record: Option<&ServerRecord>) -> (&'static str, String) {
    let message = match record {
        Some(record) if record.generation == 0 => "it has not started yet: `muster serve` on its machine",
        _ => "the leader takes it into the group",
    };
    ("Approved", message.into())
}

fn in_group(status: &Status, id: u64, wanted: Option<ServerStanding>, member: &Member) -> (&'static str, String) {
    if status.leader == Some(id) {
        return ("Leader", String::new());
    }
    // Only the leader has somebody who should answer it.
    if status.role == Role::Leader && member.silence_ms.is_none_or(|ms| ms > SILENT_MS) {
        return ("Unreachable", silence(member.silence_ms));
    }
    match (member.voter, wanted) {
        (true, _) if id == status.id && status.role == Role::Candidate => ("Candidate", "it asks for votes".into()),
        (true, _) => ("Follower", String::new()),
        (false, Some(ServerStanding::Voter)) => ("Promoting", promoting(member)),
        (false, _) => ("Learner", String::new()),
    }
}

fn silence(silence_ms: Option<u64>) -> String {
    match silence_ms {
        Some(ms) => format!("it has not answered the leader for {} s", ms / 1_000),
        None => "it has not answered since this leader leads".into(),
    }
}

fn promoting(member: &Member) -> String {
    match member.lag_entries {
        Some(lag) => format!("it gets its vote once it has kept up for a while; it is {lag} entries behind"),
        None => "it gets its vote once it has kept up for a while".into(),
    }
}

/// How far a server is, as far as this one knows.
#[derive(Default)]
struct Place {
    term: Option<u64>,
    index: Option<u64>,
    lag: Option<u64>,
}

impl Place {
    fn of(status: &Status, id: u64, member: Option<&Member>) -> Self {
        let leads = status.role == Role::Leader;
        if id == status.id {
            return Self { term: Some(status.term), index: status.last_log_index, lag: leads.then_some(0) };
        }
        let Some(member) = member.filter(|_| leads) else { return Self::default() };
        let index = status.last_log_index.zip(member.lag_entries).map(|(last, lag)| last.saturating_sub(lag));
        // Whoever answers a leader is in its term.
        let answers = member.silence_ms.is_some_and(|ms| ms <= SILENT_MS);
        Self { term: answers.then_some(status.term), index, lag: member.lag_entries }
    }
}

#[cfg(test)]
mod tests;
