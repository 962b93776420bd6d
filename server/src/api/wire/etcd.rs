//! What is known of a cluster's etcd.

use muster_proto::admin::v1::{Etcd as Wire, EtcdMember};
use muster_state::record::{EtcdView, WatchedMember};

use super::time::timestamp;
use crate::operations::OperationError;

/// The members as they were last seen.
pub fn render(view: &EtcdView) -> Wire {
    let problem = view.problem.as_ref();
    Wire {
        members: view.members.iter().map(|watched| member(view, watched)).collect(),
        since: if view.members.is_empty() { None } else { timestamp(view.since_ms) },
        problem: problem.map(|problem| problem.message.clone()).unwrap_or_default(),
        problem_since: problem.and_then(|problem| timestamp(problem.since_ms)),
    }
}

fn member(view: &EtcdView, watched: &WatchedMember) -> EtcdMember {
    EtcdMember {
        id: watched.member.id.clone(),
        name: watched.member.name.clone(),
        peer_urls: watched.member.peer_urls.clone(),
        role: if watched.is_voter() { "voter" } else { "learner" }.into(),
        started: watched.is_started(),
        healthy: watched.healthy,
        removing: view.removal(&watched.member.id).is_some(),
    }
}

/// An id as people copy it from here or from etcdctl, in the one form in which it is stored.
pub fn parse_id(field: &str, text: &str) -> Result<String, OperationError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    match u64::from_str_radix(digits, 16) {
        Ok(id) if !digits.starts_with('+') => Ok(format!("{id:x}")),
        _ => Err(OperationError::invalid(field, "must be the id of a member: up to 16 hexadecimal digits")),
    }
}

#[cfg(test)]
mod tests {
    use muster_state::record::{EtcdMember as Member, EtcdProblem, EtcdRemoval};

    use super::*;

    fn mk_member(id: &str, name: &str, learner: bool, healthy: bool) -> WatchedMember {
        let peer_urls = vec!["https://192.0.2.1:2380".into()];
        WatchedMember { member: Member { id: id.into(), name: name.into(), peer_urls, learner }, healthy }
    }

    #[test]
    fn members_are_shown_with_what_is_decided_and_what_is_wrong() {
        let view = EtcdView {
            members: vec![mk_member("a", "cp1", false, true), mk_member("f", "", true, false)],
            since_ms: 1_000,
            problem: Some(EtcdProblem { message: "refused".into(), since_ms: 2_000 }),
            removals: vec![EtcdRemoval { member: "f".into(), by_operator: false, since_ms: 3_000 }],
        };
        let shown = render(&view);
        let [one, two] = &shown.members[..] else { panic!("{shown:?}") };
        assert_eq!((one.role.as_str(), one.started, one.healthy, one.removing), ("voter", true, true, false));
        assert_eq!((two.role.as_str(), two.started, two.healthy, two.removing), ("learner", false, false, true));
        assert_eq!((shown.problem.as_str(), shown.problem_since.unwrap().seconds), ("refused", 2));
        assert_eq!(render(&EtcdView::default()).since, None, "it was never seen");
    }

    #[test]
    fn an_id_has_one_form() {
        for (text, id) in [("8E9E", "8e9e"), ("0x8e9e", "8e9e"), ("000000000000008e", "8e")] {
            assert_eq!(parse_id("member", text).unwrap(), id);
        }
        for text in ["", "x", "+8e", "-1", "8e9e8e9e8e9e8e9e8e", "0x"] {
            assert!(parse_id("member", text).unwrap_err().to_string().starts_with("member: "), "{text}");
        }
    }
}
