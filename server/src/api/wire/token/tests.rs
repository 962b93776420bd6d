use muster_state::record::{CsrApproval, Link, LinkStatus, TokenStanding};

use super::*;
use crate::api::fixture::{LINE_TOKEN, NOW_MS, TOKEN, mk_state, worker};

fn mk_request() -> CreateTokenRequest {
    CreateTokenRequest { id: "abcd1234".into(), sha256: vec![7; 32], ..CreateTokenRequest::default() }
}

fn refusal(request: CreateTokenRequest) -> String {
    parse_create(request, "c".into()).unwrap_err().to_string()
}

#[test]
fn what_is_not_said_has_its_default() {
    let verb = parse_create(mk_request(), "c".into()).unwrap();
    assert_eq!((verb.ttl_ms, verb.uses, verb.node_name), (24 * 3600 * 1000, 1, None));
}

#[test]
fn what_cannot_be_is_refused_with_its_field() {
    for id in ["", "abc", "ABCD1234", "abcd-123", "abcd12345"] {
        assert!(refusal(CreateTokenRequest { id: id.into(), ..mk_request() }).starts_with("id: "), "{id}");
    }
    for length in [0, 31, 33] {
        let said = refusal(CreateTokenRequest { sha256: vec![7; length], ..mk_request() });
        assert!(said.starts_with("sha256: ") && said.contains("never send the token"), "{said}");
    }
    assert!(refusal(CreateTokenRequest { node_name: "N".into(), ..mk_request() }).starts_with("node_name: "));
    let year_s = 365 * 24 * 3600;
    assert!(parse_create(CreateTokenRequest { ttl_seconds: year_s, ..mk_request() }, "c".into()).is_ok());
    for long in [year_s + 1, u64::MAX] {
        assert!(refusal(CreateTokenRequest { ttl_seconds: long, ..mk_request() }).starts_with("ttl_seconds: "));
    }
}

#[test]
fn an_enrolment_token_shows_its_uses_and_its_standing() {
    let mut state = mk_state();
    worker(&mut state, "6e0f3a51-0000-4000-8000-000000000001");
    let token = state.enrolment_tokens[&TOKEN.into()].clone();
    let shown = enrolment(&state, &token, NOW_MS);
    assert_eq!((shown.uses, shown.uses_left), (10, 9));
    assert_eq!((shown.cluster.as_str(), shown.pool.as_str(), shown.role.as_str()), ("prod", "worker", "worker"));
    assert_eq!((shown.state.as_str(), shown.kind.as_str()), ("Live", "enrolment"));
    assert_eq!(enrolment(&state, &token, token.expires_ms).state, "Expired");
    let spent = EnrolmentToken { uses: 1, ..token.clone() };
    assert_eq!(
        (enrolment(&state, &spent, NOW_MS).state.as_str(), spent.standing(NOW_MS)),
        ("Spent", TokenStanding::Spent)
    );
    let revoked = EnrolmentToken { revoked_ms: Some(1), ..token };
    assert_eq!(enrolment(&state, &revoked, NOW_MS).state, "Revoked");
}

#[test]
fn a_bootstrap_token_shows_where_it_is_in_its_life() {
    let state = mk_state();
    let token = state.bootstrap_tokens[&LINE_TOKEN.into()].clone();
    let shown =
        |state_now, now_ms| bootstrap(&state, &BootstrapToken { state: state_now, ..token.clone() }, now_ms).state;
    assert_eq!(shown(BootstrapTokenState::Minted, NOW_MS), "Minted");
    assert_eq!(shown(BootstrapTokenState::Present, NOW_MS), "Present");
    assert_eq!(shown(BootstrapTokenState::Present, token.expires_ms), "Expired");
    assert_eq!(shown(BootstrapTokenState::Ending, token.expires_ms), "Ending");
    assert_eq!(shown(BootstrapTokenState::Deleted, token.expires_ms), "Deleted");
    let first = bootstrap(&state, &state.bootstrap_tokens[&"aaaaaa".into()], NOW_MS + 86_400_000 * 400);
    assert_eq!((first.state.as_str(), first.expires), ("Minted", None), "it begins to live at init");
    assert_eq!((first.role.as_str(), first.kind.as_str()), ("worker", "bootstrap"));
}

#[test]
fn a_bootstrap_token_shows_what_the_cluster_has_of_it_where_that_is_known() {
    let mut state = mk_state();
    let token = state.bootstrap_tokens[&LINE_TOKEN.into()].clone();
    let shown = |state: &State, now, differs| {
        bootstrap(state, &BootstrapToken { state: now, differs, ..token.clone() }, NOW_MS).in_cluster
    };
    use BootstrapTokenState::{Deleted, Ending, Minted, Present};
    assert_eq!(shown(&state, Present, None), "unknown", "nobody looks into a detached cluster");
    let cluster = state.clusters.get_mut(&token.cluster).unwrap();
    cluster.spec.link = Some(Link { csr_approval: CsrApproval::Muster });
    assert_eq!(shown(&state, Present, None), "unknown", "the link is not up yet");
    let link =
        |condition| Some(LinkStatus { condition, message: String::new(), since_ms: 0, cluster_info_public: None });
    state.clusters.get_mut(&token.cluster).unwrap().link = link(LinkCondition::Connected);
    for (now, word) in [(Minted, "not yet"), (Present, "there"), (Ending, "ending"), (Deleted, "gone")] {
        assert_eq!(shown(&state, now, None), word);
    }
    assert_eq!(shown(&state, Present, Some(TokenDifference::Missing)), "missing");
    assert_eq!(shown(&state, Minted, Some(TokenDifference::Unsigned)), "unsigned");
    state.clusters.get_mut(&token.cluster).unwrap().link = link(LinkCondition::Unreachable);
    assert_eq!(shown(&state, Present, None), "unknown");
    assert_eq!(shown(&state, Present, Some(TokenDifference::Missing)), "missing", "as it was seen last");
}
