//! What a link to a cluster's API brings: who is Ready, and which certificate requests are approved. Attacks included.

use std::collections::{BTreeMap, BTreeSet};

use muster_state::{
    NodeId, Phase, TokenId,
    command::{DecideCsr, LockNode, MoveTokens, ObserveNodes, RecordLink, TokenStep, UpdateCluster},
    csr::{CLIENT_SIGNER, CsrClaim, CsrContent, CsrDecision, SERVING_SIGNER},
    record::{ApiNode, BootstrapTokenState, ClusterSpec, LinkCondition, Purpose, Verb},
};
use proptest::prelude::*;

use crate::world::{self, World, digest};

pub(crate) fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// A world with worker `id` in the middle of its join, and the token it joins with.
pub(crate) fn mk_joining() -> (World, NodeId, TokenId) {
    let mut world = World::linked();
    let first = world.control_plane(1, "cp1");
    world.advance_to(&first, Verb::WaitReady);
    let id = world.worker(2);
    world.advance_to(&id, Verb::JoinWorker);
    let token = world.node(&id).bootstrap_token.clone().unwrap();
    (world, id, token)
}

pub(crate) fn node_name(world: &World, id: &NodeId) -> String {
    world.node(id).placement().unwrap().name.to_string()
}

/// What the kubelet of that node asks for with that token.
pub(crate) fn honest(name: &str, token: &TokenId) -> CsrClaim {
    let content = CsrContent {
        common_names: vec![format!("system:node:{name}")],
        organizations: vec!["system:nodes".into()],
        ..CsrContent::default()
    };
    CsrClaim {
        signer: CLIENT_SIGNER.into(),
        user: format!("system:bootstrap:{token}"),
        groups: set(&["system:bootstrappers", "system:bootstrappers:muster:c1:worker", "system:authenticated"]),
        usages: set(&["digital signature", "client auth"]),
        content: Some(content),
        node_is_ready: false,
    }
}

pub(crate) fn ask(world: &mut World, uid: &str, claim: &CsrClaim) -> CsrDecision {
    let csr = DecideCsr {
        cluster: "c1".into(),
        uid: uid.into(),
        name: format!("csr-{uid}"),
        digest: digest(1),
        claim: claim.clone(),
    };
    world.done(csr)
}

pub(crate) fn is_denied(decision: &CsrDecision) -> bool {
    matches!(decision, CsrDecision::Deny(_))
}

pub(crate) fn has_event(world: &World, reason: &str) -> bool {
    world.state.events.iter().any(|event| event.reason == reason)
}

#[test]
fn the_request_of_a_joining_nodes_own_kubelet_is_approved_as_often_as_it_is_asked_about() {
    let (mut world, id, token) = mk_joining();
    let claim = honest(&node_name(&world, &id), &token);
    assert_eq!(ask(&mut world, "u1", &claim), CsrDecision::Approve);
    assert_eq!(ask(&mut world, "u1", &claim), CsrDecision::Approve, "a new leader asks again");
    assert_eq!(world.node(&id).requests.len(), 1);
    let rsa = CsrClaim { usages: set(&["digital signature", "key encipherment", "client auth"]), ..claim };
    assert_eq!(ask(&mut world, "u1", &rsa), CsrDecision::Approve);
    assert!(has_event(&world, "CsrApproved") && world.node(&id).locked.is_none());
}

/// Every way in which a token's holder may ask for more than its machine's kubelet does.
pub(crate) fn attacks(claim: &CsrClaim) -> Vec<(&'static str, CsrClaim)> {
    let content = claim.content.clone().unwrap();
    let with = |change: &dyn Fn(&mut CsrContent)| {
        let mut content = content.clone();
        change(&mut content);
        CsrClaim { content: Some(content), ..claim.clone() }
    };
    let group = |role: &str| format!("system:bootstrappers:muster:c1:{role}");
    let mut more = claim.groups.clone();
    more.insert("system:masters".into());
    let other = BTreeSet::from(["system:bootstrappers".into(), "system:authenticated".into(), group("control-plane")]);
    vec![
        ("an existing control plane's name", with(&|content| content.common_names = vec!["system:node:cp1".into()])),
        ("any other name", with(&|content| content.common_names = vec!["system:node:other".into()])),
        ("no name", with(&|content| content.common_names.clear())),
        ("two names", with(&|content| content.common_names.push("system:node:cp1".into()))),
        ("an administrator's group", with(&|content| content.organizations = vec!["system:masters".into()])),
        ("one group more", with(&|content| content.organizations.push("system:masters".into()))),
        ("a DNS name", with(&|content| content.dns_names.push("kubernetes".into()))),
        ("an address", with(&|content| content.addresses.push("192.0.2.1".into()))),
        ("something else", with(&|content| content.others.push("basicConstraints".into()))),
        ("the signer of servers", CsrClaim { signer: SERVING_SIGNER.into(), ..claim.clone() }),
        (
            "the signer of API clients",
            CsrClaim { signer: "kubernetes.io/kube-apiserver-client".into(), ..claim.clone() },
        ),
        ("server authentication", CsrClaim { usages: set(&["digital signature", "server auth"]), ..claim.clone() }),
        (
            "one usage more",
            CsrClaim { usages: set(&["digital signature", "client auth", "cert sign"]), ..claim.clone() },
        ),
        ("no usage", CsrClaim { usages: BTreeSet::new(), ..claim.clone() }),
        ("another role's group", CsrClaim { groups: other, ..claim.clone() }),
        ("a requester in more groups", CsrClaim { groups: more, ..claim.clone() }),
        ("nothing readable", CsrClaim { content: None, ..claim.clone() }),
        ("a name without end", with(&|content| content.others.push("x".repeat(10_000)))),
    ]
}

#[test]
fn whatever_else_is_asked_for_with_a_nodes_token_is_denied_and_told() {
    let (world, id, token) = mk_joining();
    let claim = honest(&node_name(&world, &id), &token);
    for (what, attack) in attacks(&claim) {
        let mut world = World { state: world.state.clone(), now_ms: world.now_ms };
        let decision = ask(&mut world, "thief", &attack);
        assert!(is_denied(&decision), "{what}: {decision:?}");
        assert!(has_event(&world, "CsrDenied"), "{what}");
        // The machine's own request is now the second one for its token.
        assert!(is_denied(&ask(&mut world, "own", &claim)), "{what}");
        assert!(world.node(&id).locked.is_some(), "{what}");
    }
}

#[test]
fn a_token_of_one_node_is_of_no_use_for_another() {
    let (mut world, a, token_a) = mk_joining();
    let b = world.worker(3);
    world.advance_to(&b, Verb::JoinWorker);
    let name_b = node_name(&world, &b);
    assert!(is_denied(&ask(&mut world, "u", &honest(&name_b, &token_a))));
    assert!(world.node(&b).locked.is_none() && world.node(&b).requests.is_empty(), "{a}'s token is not {b}'s matter");
}

#[test]
fn a_second_request_with_one_token_is_denied_locks_the_node_and_ends_the_token() {
    let (mut world, id, token) = mk_joining();
    let claim = honest(&node_name(&world, &id), &token);
    assert_eq!(ask(&mut world, "u1", &claim), CsrDecision::Approve);
    assert!(is_denied(&ask(&mut world, "u2", &claim)));
    assert!(world.node(&id).locked.as_ref().unwrap().contains(token.as_str()));
    assert_eq!(world.state.bootstrap_tokens[&token].state, BootstrapTokenState::Ending);
    assert!(has_event(&world, "NodeLocked"));
    // The first one, if nothing has been done about it yet, is denied too.
    assert!(is_denied(&ask(&mut world, "u1", &claim)));
    for uid in 3..200 {
        assert!(is_denied(&ask(&mut world, &format!("u{uid}"), &claim)));
    }
    assert!(world.node(&id).requests.len() <= 4, "a thief fills the record");
    assert!(
        world.state.events.iter().filter(|event| event.reason == "CsrDenied").count() <= 4,
        "a thief fills the events"
    );
}

#[test]
fn a_token_that_has_ended_or_is_not_there_yet_or_belongs_to_nobody_approves_nothing() {
    let (world, id, token) = mk_joining();
    let claim = honest(&node_name(&world, &id), &token);
    let denied = |change: &dyn Fn(&mut World)| {
        let mut world = World { state: world.state.clone(), now_ms: world.now_ms };
        change(&mut world);
        assert!(is_denied(&ask(&mut world, "u", &claim)));
    };
    let in_state = |wanted| {
        move |world: &mut World| {
            world.state.bootstrap_tokens.values_mut().for_each(|token| token.state = wanted);
        }
    };
    // A deleted token still authenticates for ten seconds.
    denied(&in_state(BootstrapTokenState::Deleted));
    denied(&in_state(BootstrapTokenState::Ending));
    denied(&in_state(BootstrapTokenState::Minted));
    denied(&|world| world.now_ms = world.state.bootstrap_tokens[&token].expires_ms);
    denied(&|world| world.done(LockNode { node: id.clone(), reason: String::new() }));
    denied(&|world| {
        world.state.nodes.get_mut(&id).unwrap().steps.clear();
    });
    denied(&|world| {
        let token = world.state.bootstrap_tokens.get_mut(&token).unwrap();
        (token.purpose, token.state) = (Purpose::Node("gone".into()), BootstrapTokenState::Deleted);
    });
}

#[test]
fn what_is_not_musters_is_left_alone_and_a_join_lines_request_waits_for_a_person() {
    let (mut world, id, token) = mk_joining();
    let name = node_name(&world, &id);
    let claim = honest(&name, &token);
    let before = world.state.last_event;
    for user in ["system:bootstrap:foreign", "system:admin", "system:bootstrap:"] {
        let claim = CsrClaim { user: user.into(), ..claim.clone() };
        assert_eq!(ask(&mut world, "u", &claim), CsrDecision::Ignore, "{user}");
    }
    assert_eq!(world.state.last_event, before);
    let line = CsrClaim { user: "system:bootstrap:first-c1".into(), ..claim };
    assert!(matches!(ask(&mut world, "u", &line), CsrDecision::Wait(_)));
    assert!(has_event(&world, "CsrWaiting"));
}

#[test]
fn a_detached_cluster_knows_nothing_by_its_api() {
    let mut world = World::new();
    let record = RecordLink {
        cluster: "c1".into(),
        condition: LinkCondition::Connected,
        message: String::new(),
        cluster_info_public: None,
    };
    assert_eq!(world.apply(record).unwrap_err().word(), "Invalid");
    let observe = ObserveNodes { cluster: "c1".into(), nodes: BTreeMap::new() };
    assert_eq!(world.apply(observe).unwrap_err().word(), "Invalid");
    let tokens = MoveTokens { cluster: "c1".into(), tokens: Vec::new(), to: TokenStep::Present };
    assert_eq!(world.apply(tokens).unwrap_err().word(), "Invalid");
    assert_eq!(ask(&mut world, "u", &honest("w", &"first-c1".into())), CsrDecision::Ignore);
}

#[test]
fn a_cluster_is_linked_or_detached_from_its_first_control_plane_on() {
    let (mut world, _, _) = mk_joining();
    let revision = world.state.clusters[&"c1".into()].revision;
    let detached = UpdateCluster { id: "c1".into(), revision, spec: world::spec("c1") };
    assert!(world.apply(detached).unwrap_err().to_string().contains("access"));
    let mut fresh = World::new();
    let spec = ClusterSpec { link: world.state.clusters[&"c1".into()].spec.link, ..world::spec("c1") };
    fresh.done(UpdateCluster { id: "c1".into(), revision: 1, spec });
}

#[test]
fn a_condition_is_told_when_it_changes_and_not_with_every_sentence() {
    let mut world = World::linked();
    let mut record = |condition, message: &str| {
        world.done(RecordLink { cluster: "c1".into(), condition, message: message.into(), cluster_info_public: None });
        world.state.last_event
    };
    let first = record(LinkCondition::Unreachable, "refused");
    assert_eq!(record(LinkCondition::Unreachable, "refused again"), first);
    assert!(record(LinkCondition::Connected, "") > first);
}

#[test]
fn ready_is_what_the_api_says_of_a_joined_node() {
    let (mut world, id, _) = mk_joining();
    let name = world.node(&id).placement().unwrap().name.clone();
    for _ in 0..20 {
        let Some(verb) = world::friendly::next_for(&world.state, world.node(&id)) else { break };
        world.command(muster_state::Command { request: None, verb });
    }
    assert_eq!(world.node(&id).phase, Phase::Ready, "its agent says so, and nobody else anything");
    let seen = |ready: bool, uid: &str| {
        let message = if ready { "" } else { "KubeletNotReady: no network plugin" };
        Some(ApiNode { uid: uid.into(), ready, message: message.into(), kubelet_version: "v1.36.2".into() })
    };
    let observe = |world: &mut World, seen| {
        world.done(ObserveNodes { cluster: "c1".into(), nodes: BTreeMap::from([(name.clone(), seen)]) });
        let node = world.node(&id);
        (node.phase, node.message.clone())
    };
    assert_eq!(observe(&mut world, None).0, Phase::Ready, "what was never there is not gone");
    assert_eq!(observe(&mut world, seen(true, "u1")).0, Phase::Ready);
    let (phase, message) = observe(&mut world, seen(false, "u1"));
    assert!(phase == Phase::WaitingForNodeReady && message.contains("no network plugin"), "{phase} {message}");
    let (phase, message) = observe(&mut world, None);
    assert!(phase == Phase::WaitingForNodeReady && message.contains("gone"), "{phase} {message}");
    assert_eq!(observe(&mut world, seen(true, "u2")).0, Phase::Ready);
    assert_eq!(world.node(&id).api.as_ref().unwrap().node.as_ref().unwrap().uid, "u2");
}

#[test]
fn a_tokens_lifetime_begins_when_its_secret_is_about_to_be_made() {
    let (mut world, _, token) = mk_joining();
    let state = |world: &World| world.state.bootstrap_tokens[&token].state;
    world.state.bootstrap_tokens.get_mut(&token).unwrap().state = BootstrapTokenState::Minted;
    let go = |world: &mut World, to| {
        world.done(MoveTokens { cluster: "c1".into(), tokens: vec![token.clone(), "none".into()], to })
    };
    world.now_ms += 1_000_000;
    go(&mut world, TokenStep::Offered);
    let record = &world.state.bootstrap_tokens[&token];
    assert_eq!(record.expires_ms, world.now_ms + record.ttl_ms);
    go(&mut world, TokenStep::Present);
    assert_eq!(state(&world), BootstrapTokenState::Present);
    go(&mut world, TokenStep::Deleted);
    assert_eq!(state(&world), BootstrapTokenState::Present, "nobody has ended it");
    world.state.bootstrap_tokens.get_mut(&token).unwrap().state = BootstrapTokenState::Ending;
    go(&mut world, TokenStep::Present);
    assert_eq!(state(&world), BootstrapTokenState::Ending, "what has ended stays ended");
    go(&mut world, TokenStep::Deleted);
    assert_eq!(state(&world), BootstrapTokenState::Deleted);
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    let word = prop_oneof![
        Just("system:nodes".to_owned()),
        Just("system:masters".to_owned()),
        Just("system:node:cp1".to_owned()),
        "system:node:[a-z0-9]{1,4}",
        Just("system:bootstrappers".to_owned()),
        Just("system:authenticated".to_owned()),
        Just("system:bootstrappers:muster:c1:worker".to_owned()),
        Just("digital signature".to_owned()),
        Just("client auth".to_owned()),
        Just("server auth".to_owned()),
    ];
    prop::collection::vec(word, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever a token's holder asks for, what is approved is what its own kubelet asks for.
    #[test]
    fn only_the_kubelets_own_request_is_approved(
        names in texts(), organizations in texts(), groups in texts(), usages in texts(), dns in texts(), honest_parts in 0_u8..32,
    ) {
        let (mut world, id, token) = mk_joining();
        let own = honest(&node_name(&world, &id), &token);
        let mut claim = own.clone();
        let content = claim.content.as_mut().unwrap();
        if honest_parts & 1 == 0 { content.common_names = names; }
        if honest_parts & 2 == 0 { content.organizations = organizations; }
        if honest_parts & 4 == 0 { content.dns_names = dns; }
        if honest_parts & 8 == 0 { claim.groups = groups.into_iter().collect(); }
        if honest_parts & 16 == 0 { claim.usages = usages.into_iter().collect(); }
        let approved = ask(&mut world, "u", &claim) == CsrDecision::Approve;
        prop_assert_eq!(approved, claim == own);
    }
}
