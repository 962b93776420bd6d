//! Join lines that are for one name: the first request is approved if it is that kubelet's, and nothing else ever is.

use std::collections::BTreeSet;

use muster_state::{
    Refusal, TokenId,
    command::{DecideCsr, MintBootstrapToken, ReleaseJoinCommand, RevokeToken},
    csr::{CLIENT_SIGNER, CsrClaim, CsrContent, CsrDecision, SERVING_SIGNER},
    record::{BootstrapTokenState, Purpose, Role, Verb},
};

use crate::world::{HOUR_MS, World, digest, name, secret};

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn mint(id: &str, role: Role, node: &str) -> MintBootstrapToken {
    let purpose = Purpose::NamedJoinCommand(role, name(node));
    MintBootstrapToken { id: id.into(), cluster: "c1".into(), purpose, secret: secret(9), ttl_ms: HOUR_MS }
}

/// A cluster that is up, and a line for worker `w9` that has been printed.
fn mk_printed() -> World {
    let mut world = World::linked();
    let first = world.control_plane(1, "cp1");
    world.advance_to(&first, Verb::WaitReady);
    world.done(mint("line", Role::Worker, "w9"));
    world.state.bootstrap_tokens.get_mut(&TokenId::from("line")).unwrap().state = BootstrapTokenState::Present;
    world.done(ReleaseJoinCommand { token: "line".into(), role: Role::Worker, caller: "anna".into() });
    world
}

fn honest() -> CsrClaim {
    let content = CsrContent {
        common_names: vec!["system:node:w9".into()],
        organizations: vec!["system:nodes".into()],
        ..CsrContent::default()
    };
    CsrClaim {
        signer: CLIENT_SIGNER.into(),
        user: "system:bootstrap:line".into(),
        groups: set(&["system:bootstrappers", "system:bootstrappers:muster:c1:worker", "system:authenticated"]),
        usages: set(&["digital signature", "client auth"]),
        content: Some(content),
        node_is_ready: false,
    }
}

fn ask(world: &mut World, uid: &str, claim: &CsrClaim) -> CsrDecision {
    let (cluster, name, digest) = ("c1".into(), format!("csr-{uid}"), digest(1));
    world.done(DecideCsr { cluster, uid: uid.into(), name, digest, claim: claim.clone() })
}

fn is_denied(decision: &CsrDecision) -> bool {
    matches!(decision, CsrDecision::Deny(_))
}

fn events(world: &World, reason: &str) -> usize {
    world.state.events.iter().filter(|event| event.reason == reason).count()
}

#[test]
fn the_first_request_for_the_name_is_approved_without_a_person() {
    let mut world = mk_printed();
    assert_eq!(world.state.line_name_of(&"c1".into(), &honest()), Some(&name("w9")));
    assert_eq!(world.state.line_name_of(&"c2".into(), &honest()), None);
    assert_eq!(ask(&mut world, "u1", &honest()), CsrDecision::Approve);
    assert_eq!(ask(&mut world, "u1", &honest()), CsrDecision::Approve, "a new leader asks again");
    assert_eq!((events(&world, "CsrApproved"), events(&world, "CsrWaiting")), (1, 0));
    let judged = &world.state.bootstrap_tokens[&TokenId::from("line")].requests;
    assert!(judged.len() == 1 && judged[0].approved && judged[0].uid == "u1");
}

#[test]
fn a_second_request_is_denied_and_takes_the_token_back_and_raises_an_alarm_once() {
    let mut world = mk_printed();
    assert_eq!(ask(&mut world, "u1", &honest()), CsrDecision::Approve);
    for uid in 2..50 {
        assert!(is_denied(&ask(&mut world, &format!("u{uid}"), &honest())));
    }
    let token = &world.state.bootstrap_tokens[&TokenId::from("line")];
    assert_eq!(token.state, BootstrapTokenState::Ending);
    assert!(token.requests.len() <= 4, "a thief fills the record");
    assert_eq!(events(&world, "JoinLineStolen"), 1);
    assert!(events(&world, "CsrDenied") <= 4, "a thief fills the events");
    assert!(is_denied(&ask(&mut world, "u1", &honest())), "if nothing has been done about it yet");
}

#[test]
fn whatever_else_is_asked_for_with_the_lines_token_is_denied() {
    let with = |change: &dyn Fn(&mut CsrContent)| {
        let mut claim = honest();
        change(claim.content.as_mut().unwrap());
        claim
    };
    let plane = set(&["system:bootstrappers", "system:bootstrappers:muster:c1:control-plane", "system:authenticated"]);
    for (what, attack) in [
        ("another name", with(&|content| content.common_names = vec!["system:node:w8".into()])),
        ("a control plane's name", with(&|content| content.common_names = vec!["system:node:cp1".into()])),
        ("administrators", with(&|content| content.organizations = vec!["system:masters".into()])),
        ("an extra name", with(&|content| content.dns_names.push("kubernetes".into()))),
        ("an extra address", with(&|content| content.addresses.push("192.0.2.1".into()))),
        ("another role's group", CsrClaim { groups: plane, ..honest() }),
        ("another signer", CsrClaim { signer: SERVING_SIGNER.into(), ..honest() }),
        ("nothing readable", CsrClaim { content: None, ..honest() }),
        ("the name of a Node that is Ready", CsrClaim { node_is_ready: true, ..honest() }),
    ] {
        let mut world = mk_printed();
        assert!(is_denied(&ask(&mut world, "thief", &attack)), "{what}");
        assert_eq!(events(&world, "CsrDenied"), 1, "{what}");
        assert!(is_denied(&ask(&mut world, "own", &honest())), "{what}: the token is in two hands");
        assert_eq!(events(&world, "JoinLineStolen"), 1, "{what}");
    }
}

#[test]
fn a_line_that_has_ended_or_run_out_approves_nothing() {
    for state in [BootstrapTokenState::Minted, BootstrapTokenState::Ending, BootstrapTokenState::Deleted] {
        let mut world = mk_printed();
        world.state.bootstrap_tokens.get_mut(&TokenId::from("line")).unwrap().state = state;
        assert!(is_denied(&ask(&mut world, "u1", &honest())), "{state:?}");
    }
    let mut world = mk_printed();
    world.now_ms = world.state.bootstrap_tokens[&TokenId::from("line")].expires_ms;
    assert!(is_denied(&ask(&mut world, "u1", &honest())));
    let mut world = mk_printed();
    world.done(RevokeToken { id: "line".into() });
    assert!(is_denied(&ask(&mut world, "u1", &honest())));
}

#[test]
fn a_name_that_a_node_holds_is_refused_before_and_after_the_line_is_printed() {
    let mut world = mk_printed();
    let taken = world.apply(mint("other", Role::ControlPlane, "cp1")).unwrap_err();
    assert!(matches!(taken, Refusal::NameTaken { .. }), "{taken}");
    let token = world.token("t-w9", "workers", Some("w9"), 1);
    assert!(world.enrol(9, Some(token)).unwrap().admitted);
    assert!(is_denied(&ask(&mut world, "u1", &honest())), "a machine of Muster's has taken the name meanwhile");
}

#[test]
fn a_new_line_for_a_name_ends_the_one_before() {
    let mut world = mk_printed();
    world.done(mint("line-2", Role::Worker, "w9"));
    let state = |id: &str| world.state.bootstrap_tokens[&TokenId::from(id)].state;
    assert_eq!((state("line"), state("line-2")), (BootstrapTokenState::Ending, BootstrapTokenState::Minted));
    assert!(is_denied(&ask(&mut world, "u1", &honest())));
}

#[test]
fn a_line_by_file_for_a_name_is_judged_like_any_other_and_takes_the_place_of_the_one_before() {
    let mut world = mk_printed();
    let by_file = |id: &str, node: Option<&str>| {
        let purpose = Purpose::FileJoinCommand(Role::Worker, node.map(name));
        MintBootstrapToken { id: id.into(), cluster: "c1".into(), purpose, secret: secret(9), ttl_ms: HOUR_MS }
    };
    let state_of = |world: &World, id: &str| world.state.bootstrap_tokens[&TokenId::from(id)].state;
    world.done(by_file("file", Some("w9")));
    world.done(by_file("open", None));
    assert_eq!(state_of(&world, "line"), BootstrapTokenState::Ending);
    for id in ["file", "open"] {
        world.state.bootstrap_tokens.get_mut(&TokenId::from(id)).unwrap().state = BootstrapTokenState::Present;
    }
    world.done(ReleaseJoinCommand { token: "open".into(), role: Role::Worker, caller: "192.0.2.9".into() });
    let of = |token: &str| CsrClaim { user: format!("system:bootstrap:{token}"), ..honest() };
    assert!(matches!(ask(&mut world, "u0", &of("open")), CsrDecision::Wait(_)));
    assert!(is_denied(&ask(&mut world, "u1", &of("line"))));
    assert_eq!(ask(&mut world, "u2", &of("file")), CsrDecision::Approve);
    assert!(is_denied(&ask(&mut world, "u3", &of("file"))));
    assert_eq!(state_of(&world, "file"), BootstrapTokenState::Ending, "two hands hold it");
}
